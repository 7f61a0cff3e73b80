"""What belongs to an image without being in it: signatures, attestations, bills of materials.

Two ways of belonging are followed: the `subject` of a manifest (distribution-spec: Listing Referrers), and
the tags `sha256-<hex>.sig`, `.att` and `.sbom` that cosign wrote before there was such a thing.
"""

from __future__ import annotations

from entrepot.client.repository import Repository
from entrepot.content.errors import ManifestNotFound
from entrepot.content.protocols import CancelToken, ManifestBytes, ReferrerSource, Sink, Source
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.distribution import fallback_tag
from entrepot.oci.manifest import Index, build_index, parse_manifest
from entrepot.transfer.copy import copy
from entrepot.transfer.plan import Plan
from entrepot.transfer.progress import Events

SIGNATURE_SUFFIXES = (".sig", ".att", ".sbom")
MAX_DEPTH = 4


def copy_referrers(
    source: Source,
    referrers: ReferrerSource | None,
    sink: Sink,
    plan: Plan,
    *,
    events: Events,
    cancel: CancelToken | None = None,
) -> int:
    """Copy what belongs to the manifests of a copy that was carried out; how many manifests that were."""
    count = 0
    done: set[Digest] = set()
    for digest in [node.manifest.digest for node in plan.manifests]:
        for descriptor in _listed(referrers, digest):
            count += _copy_one(source, referrers, sink, digest, descriptor, done, events, cancel, depth=1)
        for suffix in SIGNATURE_SUFFIXES:
            tag = f"{digest.algorithm}-{digest.hex}{suffix}"
            try:
                copy(source, sink, reference=tag, to=tag, events=events, cancel=cancel)
            except ManifestNotFound:
                continue
            count += 1
    return count


def _copy_one(
    source: Source,
    referrers: ReferrerSource | None,
    sink: Sink,
    subject: Digest,
    descriptor: Descriptor,
    done: set[Digest],
    events: Events,
    cancel: CancelToken | None,
    *,
    depth: int,
) -> int:
    if descriptor.digest in done or depth > MAX_DEPTH:
        return 0
    done.add(descriptor.digest)
    copy(source, sink, reference=descriptor.digest, to=None, events=events, cancel=cancel)
    ensure_listed(sink, subject, descriptor)
    count = 1
    for further in _listed(referrers, descriptor.digest):
        count += _copy_one(
            source, referrers, sink, descriptor.digest, further, done, events, cancel, depth=depth + 1
        )
    return count


def _listed(referrers: ReferrerSource | None, digest: Digest) -> list[Descriptor]:
    return referrers.list_referrers(digest) if referrers is not None else []


def ensure_listed(sink: Sink, subject: Digest, descriptor: Descriptor) -> None:
    """Where a registry keeps no list of referrers, keep it in the tag the specification names for that."""
    if not isinstance(sink, Repository):
        return
    held = sink.list_referrers(subject)
    if any(one.digest == descriptor.digest for one in held):
        return
    tag = fallback_tag(subject)
    try:
        current = parse_manifest(sink.get_manifest(tag).raw, mediatype.OCI_INDEX)
        entries = current.manifests if isinstance(current, Index) else ()
    except ManifestNotFound:
        entries = ()
    index = build_index([*entries, descriptor])
    sink.put_manifest(ManifestBytes.from_manifest(index), tag)
