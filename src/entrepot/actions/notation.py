"""Notation's files: trust policies, trust stores, chains of certificates; and its signatures put in place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from entrepot.actions.signatures import ImageThere, attach
from entrepot.content.protocols import Sink
from entrepot.signing.certificate_files import read_certificates
from entrepot.signing.errors import InvalidTrust
from entrepot.signing.notation import ARTIFACT, JWS, THUMBPRINTS, make_notation, thumbprints
from entrepot.signing.notation_trust import NotationPolicy, Stores, parse_policies, policy_for
from entrepot.signing.private import PrivateKey

SUFFIXES = (".pem", ".crt", ".cer")
STORES = "truststore"
"""Beside the trust policy, as in notation's own directory."""


def read_policy(path: Path, repository: str) -> NotationPolicy:
    """The policy that is for a repository. Raises InvalidTrust, OSError."""
    return policy_for(parse_policies(path.read_bytes(), str(path)), repository)


def read_stores(folder: Path, policy: NotationPolicy) -> Stores:
    """What is in the stores a policy names: `FOLDER/x509/KIND/NAME/*.pem`. Raises InvalidTrust, OSError."""
    return {name: _read_store(folder, name) for name in policy.stores}


def _read_store(folder: Path, name: str) -> tuple[x509.Certificate, ...]:
    kind, _, store = name.partition(":")
    if "/" in store or store in (".", ".."):
        raise InvalidTrust(f"the trust store {name!r} cannot have such a name")
    place = folder / "x509" / kind / store
    if place.is_symlink():
        raise InvalidTrust(f"{place}: a trust store can't be a link")
    if not place.is_dir():
        raise InvalidTrust(f"the trust store {name} is missing", hint=f"it is looked for in {place}")
    found: list[x509.Certificate] = []
    for file in sorted(place.iterdir()):
        if file.suffix not in SUFFIXES or file.is_dir():
            continue
        if file.is_symlink():
            raise InvalidTrust(f"{file}: a certificate in a trust store can't be a link")
        found += read_chain(file)
    if not found:
        raise InvalidTrust(f"the trust store {name} is empty", hint=f"put a root's certificate into {place}")
    return tuple(found)


def read_chain(path: Path) -> tuple[x509.Certificate, ...]:
    """One in DER, or some in PEM. Raises InvalidTrust, OSError."""
    try:
        return read_certificates(path.read_bytes())
    except ValueError as error:
        raise InvalidTrust(f"{path}: not a certificate that can be read") from error


def put_notation(
    sink: Sink,
    image: ImageThere,
    key: PrivateKey,
    chain: Path,
    *,
    annotations: Mapping[str, str] | None,
    expires_in: timedelta | None,
) -> str:
    """Sign and attach; the digest of the signature's manifest. Raises InvalidTrust, OSError."""
    certificates = read_chain(chain)
    envelope = make_notation(
        image.descriptor, key, certificates, annotations=annotations, expires_in=expires_in
    )
    found = {THUMBPRINTS: thumbprints(certificates)}
    return str(attach(sink, image, envelope, ARTIFACT, found, layer_type=JWS))
