"""What refers to a manifest (distribution-spec: Listing Referrers, Referrers Tag Schema)."""

from __future__ import annotations

from entrepot.client.answers import refusal
from entrepot.client.errors import AnswerTooLarge, RegistryMisbehaved
from entrepot.client.manifests import MANIFEST_BYTES, get_manifest
from entrepot.client.place import Place
from entrepot.client.transport import ConnectionBroken
from entrepot.errors import NotFound
from entrepot.oci import distribution, mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import Index, InvalidManifest, parse_manifest

MAX_PAGES = 1000
MAX_BYTES = 16 << 20
"""Of all pages together: tens of thousands of entries."""


def list_referrers(place: Place, digest: Digest, artifact_type: str | None = None) -> list[Descriptor]:
    """Over the API, or by the fallback tag where the registry lacks it. Empty when there are none."""
    found = _from_api(place, digest)
    if found is None:
        found = _from_tag(place, digest)
    unique = {descriptor.digest: descriptor for descriptor in found}
    return [one for one in unique.values() if artifact_type is None or one.artifact_type == artifact_type]


def _from_api(place: Place, digest: Digest) -> list[Descriptor] | None:
    """None when the registry has no such API."""
    url: str | None = distribution.referrers_path(place.repository, digest)
    found: list[Descriptor] = []
    seen: set[str] = set()
    size = 0
    while url is not None:
        if url in seen or len(seen) >= MAX_PAGES:
            raise RegistryMisbehaved(f"registry {place.registry} lists referrers of {digest} in circles")
        seen.add(url)
        answer = place.request("GET", url, headers={"Accept": mediatype.OCI_INDEX})
        with answer:
            kind = mediatype.base_type(answer.header("Content-Type") or "")
            if answer.status in {404, 405, 400} or (answer.status == 200 and kind != mediatype.OCI_INDEX):
                answer.discard()
                return None
            if answer.status != 200:
                raise refusal(answer, place.subject(f"referrers of {place.shown(digest)}"))
            link = distribution.parse_link(answer.header("Link"))
            try:
                raw = answer.read_capped(MANIFEST_BYTES, "a list of referrers")
            except ConnectionBroken as error:
                raise place.session.unreachable(error) from error
        size += len(raw)
        if size > MAX_BYTES:
            raise AnswerTooLarge(
                f"registry {place.registry} lists more than {MAX_BYTES >> 20} MiB of referrers of {digest}"
            )
        found.extend(_entries(place, digest, raw))
        url = place.session.on_registry(link, "the next page") if link else None
    return found


def _from_tag(place: Place, digest: Digest) -> list[Descriptor]:
    try:
        manifest = get_manifest(place, distribution.fallback_tag(digest))
    except NotFound:
        return []
    return _entries(place, digest, manifest.raw) if mediatype.is_index(manifest.media_type) else []


def _entries(place: Place, digest: Digest, raw: bytes) -> list[Descriptor]:
    try:
        index = parse_manifest(raw, mediatype.OCI_INDEX)
    except InvalidManifest as error:
        raise RegistryMisbehaved(
            f"registry {place.registry} sent an unreadable list of referrers of {digest}: {error}"
        ) from error
    return list(index.manifests) if isinstance(index, Index) else []
