"""`signing verify-bundle`: one bundle in a file, one artifact, one signer. No network."""

from __future__ import annotations

from pathlib import Path

from entrepot.oci.digest import Digest
from entrepot.signing.bundle import MAX_BYTES
from entrepot.signing.errors import InvalidTrust
from entrepot.signing.keys import load_public_key
from entrepot.signing.signed import Signed, SignedDigests, SignedFile
from entrepot.signing.trustroot import TrustRoot, parse_trust_root
from entrepot.signing.verdict import ByIdentity, ByKey, Trusted, Verified
from entrepot.signing.verify import verify_bundle as verify


def verify_bundle(
    bundle: Path,
    *,
    artifact: Path | None = None,
    digest: str | None = None,
    key: Path | None = None,
    identity: str | None = None,
    issuer: str | None = None,
    trusted_root: Path | None = None,
) -> Verified:
    """Exactly one of `artifact` and `digest`; either `key`, or `identity` with `issuer` and `trusted_root`.

    Raises SignatureRefused with the reason, InvalidTrust, InvalidDigest, OSError.
    """
    trusted = whom_to_trust(key=key, identity=identity, issuer=issuer)
    return verify(_read(bundle), _what(artifact, digest), trusted, read_trust_root(trusted_root))


def whom_to_trust(*, key: Path | None, identity: str | None, issuer: str | None) -> Trusted:
    """Raises InvalidTrust for none, or more than one."""
    if key is not None:
        if identity is not None or issuer is not None:
            raise InvalidTrust(
                "a key and an identity are two ways of saying who signed", hint="give one of them"
            )
        return ByKey(load_public_key(key.read_bytes(), str(key)), str(key))
    if identity is None or issuer is None:
        raise InvalidTrust(
            "nobody is named whose signature would do", hint="give --key, or --identity and --issuer"
        )
    return ByIdentity(identity, issuer)


def read_trust_root(path: Path | None) -> TrustRoot | None:
    """Raises InvalidTrust, OSError."""
    return parse_trust_root(_read(path), str(path)) if path is not None else None


def _read(path: Path) -> bytes:
    """At most a byte more than a bundle may have, so that it is refused for its size."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _what(artifact: Path | None, digest: str | None) -> Signed:
    if (artifact is None) == (digest is None):
        raise InvalidTrust("what was signed has to be named", hint="give either --artifact or --digest")
    if digest is not None:
        found = Digest.parse(digest)
        return SignedDigests({found.algorithm: bytes.fromhex(found.hex)})
    assert artifact is not None
    return SignedFile(artifact)
