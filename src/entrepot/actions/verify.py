"""`verify`: whether an image has a signature by whom the caller trusts. Places are only read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from entrepot.actions.endpoints import Ends
from entrepot.actions.places import the_settings, the_store
from entrepot.actions.sign import PREDICATES
from entrepot.actions.signatures import Candidate, find_signatures, open_image
from entrepot.actions.verify_bundle import read_trust_root, whom_to_trust
from entrepot.client.settings import ClientSettings
from entrepot.errors import EntrepotError
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest
from entrepot.signing.errors import InvalidTrust, SignatureRefused
from entrepot.signing.legacy import verify_layer
from entrepot.signing.make import SIGNATURE_PREDICATE
from entrepot.signing.signed import SignedDigests
from entrepot.signing.trustroot import TrustRoot
from entrepot.signing.verdict import Trusted, Verified
from entrepot.signing.verify import verify_bundle

SHOWN_REASONS = 5


class NotSigned(SignatureRefused):
    """There is no signature that would do. The message has the reasons of those that are there."""

    code = "not-signed"


@dataclass(frozen=True, slots=True)
class Attested:
    """One signature or attestation that holds."""

    manifest: Digest
    form: str
    verified: Verified

    @property
    def predicate_type(self) -> str:
        """Empty for a plain signature."""
        statement = self.verified.statement
        if statement is None or statement.predicate_type == SIGNATURE_PREDICATE:
            return ""
        return statement.predicate_type


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """An image with at least one signature that was asked for."""

    name: str
    digest: Digest
    signatures: tuple[Attested, ...]
    refused: tuple[str, ...]
    """Why others beside them do not hold."""


def verify(
    name: str,
    *,
    key: Path | None = None,
    identity: str | None = None,
    issuer: str | None = None,
    trusted_root: Path | None = None,
    kind: str | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> VerifiedImage:
    """Verify what `name` stands for now. `kind` asks for an attestation of that type instead of a signature.

    Raises NotSigned with the reasons, InvalidTrust, NotFound, Unavailable.
    """
    trusted = whom_to_trust(key=key, identity=identity, issuer=issuer)
    root = read_trust_root(trusted_root)
    if root is None and key is None:
        raise InvalidTrust("an identity needs a trust root to be verified by", hint="give --trusted-root")
    with (
        Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends,
        open_image(name, ends) as image,
    ):
        good, refused = list[Attested](), list[str]()
        for found in find_signatures(image):
            if found.form == "notation":
                continue
            try:
                verified = _check(found, image.digest, trusted, root)
            except SignatureRefused as error:
                refused.append(f"{found.manifest}: {error.message}")
                continue
            good.append(Attested(found.manifest, found.form, verified))
        refused += image.skipped
        digest, shown = image.digest, str(image.endpoint)
    if not any(_is_wanted(one, kind) for one in good):
        raise _not_signed(shown, digest, good, refused, kind)
    return VerifiedImage(shown, digest, tuple(good), tuple(refused))


def _check(found: Candidate, digest: Digest, trusted: Trusted, root: TrustRoot | None) -> Verified:
    if found.form == "tag":
        return verify_layer(found.media_type, found.content, found.annotations, digest, trusted, root)
    artifact = SignedDigests({digest.algorithm: bytes.fromhex(digest.hex)})
    return verify_bundle(found.content, artifact, trusted, root)


def _is_wanted(one: Attested, kind: str | None) -> bool:
    if kind is None:
        return not one.predicate_type
    if kind == "slsaprovenance":
        return one.predicate_type in (PREDICATES["slsaprovenance1"], PREDICATES["slsaprovenance02"])
    return one.predicate_type == PREDICATES.get(kind, kind)


def _not_signed(
    shown: str, digest: Digest, good: list[Attested], refused: list[str], kind: str | None
) -> EntrepotError:
    what = "signature" if kind is None else f"attestation of the type {kind}"
    if refused:
        reasons = "; ".join(refused[:SHOWN_REASONS])
        more = f"; and {len(refused) - SHOWN_REASONS} more" if len(refused) > SHOWN_REASONS else ""
        return NotSigned(f"{shown} ({digest}) has no {what} that holds: {reasons}{more}")
    if good:
        others = ", ".join(sorted({one.predicate_type or "a signature" for one in good}))
        return NotSigned(f"{shown} ({digest}) has no {what} by this signer, only {others}")
    return NotSigned(f"{shown} ({digest}) has no {what}")
