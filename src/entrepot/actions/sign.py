"""`sign` and `attest`: a signed statement about an image, put beside it in its registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entrepot.actions.endpoints import Ends
from entrepot.actions.notation import put_notation
from entrepot.actions.places import the_settings, the_store
from entrepot.actions.signatures import (
    ImageThere,
    attach,
    old_tag,
    open_image,
    open_to_sign,
    put_bytes,
    read_blob,
)
from entrepot.actions.signing_keys import signing_key
from entrepot.client.settings import ClientSettings
from entrepot.content.errors import ManifestNotFound
from entrepot.content.protocols import ManifestBytes, Sink
from entrepot.errors import InvalidInput
from entrepot.images.store import ImageStore
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest, build_manifest
from entrepot.oci.strictjson import InvalidJson, loads_object
from entrepot.signing.bundle import BUNDLE
from entrepot.signing.legacy import SIGNATURE, SIMPLE_SIGNING
from entrepot.signing.make import SIGNATURE_PREDICATE, make_bundle, make_simple_signing, make_statement

if TYPE_CHECKING:
    from entrepot.signing.private import PrivateKey

MAX_PREDICATE_BYTES = 16 << 20
PREDICATES = {
    "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "spdx": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "openvex": "https://openvex.dev/ns/v0.2.0",
}
"""Short names of types of predicates, as cosign has them."""


@dataclass(frozen=True, slots=True)
class PutSignature:
    """What was put beside the image."""

    image: str
    digest: Digest
    """Of the image."""
    signature: str
    """Digest of the signature's manifest, or the tag it stands below."""


def sign(
    name: str,
    *,
    key: str | None = None,
    key_command: str | None = None,
    old_form: bool = False,
    certificate_chain: Path | None = None,
    expires_in: timedelta | None = None,
    annotations: Mapping[str, str] | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> PutSignature:
    """Sign what `name` stands for now: an image, or an index with all its images.

    With `certificate_chain` it is a signature of notation's, which may expire.
    Raises InvalidTrust for the key, NotFound, Denied, Unavailable.
    """
    if certificate_chain is not None and old_form:
        raise InvalidInput("notation's signatures have no older form")
    if expires_in is not None and certificate_chain is None:
        raise InvalidInput("only notation's signatures expire", hint="give --certificate-chain as well")
    secret = signing_key(key, key_command)
    with (
        Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends,
        open_image(name, ends) as image,
    ):
        with open_to_sign(image, ends) as sink:
            if certificate_chain is not None:
                signature = put_notation(
                    sink, image, secret, certificate_chain, annotations=annotations, expires_in=expires_in
                )
            elif old_form:
                signature = _put_old(sink, image, secret, annotations)
            else:
                statement = make_statement(image.digest, SIGNATURE_PREDICATE, {}, annotations=annotations)
                signature = _put_bundle(sink, image, make_bundle(statement, secret), SIGNATURE_PREDICATE)
        return PutSignature(str(image.endpoint.reference), image.digest, signature)


def attest(
    name: str,
    *,
    kind: str,
    predicate: Path,
    key: str | None = None,
    key_command: str | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> PutSignature:
    """State and sign something about an image: the JSON object in `predicate`.

    Raises InvalidInput for the predicate, and what `sign` raises.
    """
    secret = signing_key(key, key_command)
    document = _read_predicate(predicate)
    predicate_type = type_of_predicate(kind, document)
    with (
        Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends,
        open_image(name, ends) as image,
    ):
        with open_to_sign(image, ends) as sink:
            named = image.endpoint.reference.name if image.endpoint.reference else None
            statement = make_statement(image.digest, predicate_type, document, name=named)
            signature = _put_bundle(sink, image, make_bundle(statement, secret), predicate_type)
        return PutSignature(str(image.endpoint.reference), image.digest, signature)


def type_of_predicate(kind: str, document: Mapping[str, Any]) -> str:
    """`slsaprovenance` is the version the document is of. Any URI passes as it is. Raises InvalidInput."""
    if kind == "slsaprovenance":
        return PREDICATES["slsaprovenance1" if "buildDefinition" in document else "slsaprovenance02"]
    if kind in PREDICATES:
        return PREDICATES[kind]
    if "://" in kind:
        return kind
    known = ", ".join(sorted([*PREDICATES, "slsaprovenance"]))
    raise InvalidInput(f"no type of attestation {kind!r}", hint=f"known are {known}, and any URI")


def _read_predicate(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        raw = file.read(MAX_PREDICATE_BYTES + 1)
    if len(raw) > MAX_PREDICATE_BYTES:
        raise InvalidInput(f"{path}: more than {MAX_PREDICATE_BYTES >> 20} MiB")
    try:
        return loads_object(raw, max_depth=64, max_elements=2_000_000)
    except InvalidJson as error:
        raise InvalidInput(f"{path}: {error.message}", hint="a predicate is a JSON object") from error


def _put_bundle(sink: Sink, image: ImageThere, bundle: bytes, predicate_type: str) -> str:
    annotations = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate_type,
        "org.opencontainers.image.created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return str(attach(sink, image, bundle, BUNDLE, annotations))


def _put_old(sink: Sink, image: ImageThere, key: PrivateKey, annotations: Mapping[str, str] | None) -> str:
    """A layer more below `sha256-….sig`, as cosign adds it; what is there stays."""
    named = image.endpoint.reference.name if image.endpoint.reference else ""
    document, signature = make_simple_signing(image.digest, named, key, annotations)
    tag = old_tag(image.digest, ".sig")
    layers, config = _held(image, tag)
    layer = put_bytes(sink, document, SIMPLE_SIGNING, {SIGNATURE: signature})
    layers = [*layers, layer]
    config["rootfs"] = {"type": "layers", "diff_ids": [str(one.digest) for one in layers]}
    config["history"] = [{"created": "0001-01-01T00:00:00Z"} for _ in layers]
    raw = json.dumps(config, separators=(",", ":")).encode()
    described = put_bytes(sink, raw, mediatype.OCI_CONFIG)
    sink.put_manifest(ManifestBytes.from_manifest(build_manifest(described, layers)), tag)
    return tag


def _held(image: ImageThere, tag: str) -> tuple[list[Descriptor], dict[str, Any]]:
    fresh = {"architecture": "", "created": "0001-01-01T00:00:00Z", "os": "", "config": {}}
    try:
        parsed = image.origin.source.get_manifest(tag).parse()
    except ManifestNotFound:
        return [], fresh
    if not isinstance(parsed, ImageManifest):
        raise InvalidInput(f"{tag} holds something else than signatures")
    return list(parsed.layers), loads_object(read_blob(image.origin.source, parsed.config))
