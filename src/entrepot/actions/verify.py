"""`verify`: whether an image has a signature by whom the caller trusts. Places are only read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from entrepot.actions.endpoints import Ends, parse_endpoint
from entrepot.actions.places import the_settings, the_store
from entrepot.actions.sign import PREDICATES
from entrepot.actions.signatures import Candidate, ImageThere, find_signatures, open_image
from entrepot.actions.verify_bundle import read_trust_root, whom_to_trust
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import ManifestBytes
from entrepot.errors import EntrepotError
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest
from entrepot.signing.errors import InvalidTrust, SignatureRefused
from entrepot.signing.legacy import verify_layer
from entrepot.signing.make import SIGNATURE_PREDICATE
from entrepot.signing.signed import SignedBytes
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
    notation_policy: Path | None = None,
    notation_stores: Path | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> VerifiedImage:
    """Verify what `name` stands for now. `kind` asks for an attestation of that type instead of a signature.

    `notation_policy` is instead of key and identity; its stores are beside it, unless they are said.

    Raises NotSigned with the reasons, InvalidTrust, NotFound, Unavailable.
    """
    if notation_policy is not None and (key or identity or issuer or trusted_root or kind):
        raise InvalidTrust("a trust policy of notation's says all by itself", hint="give no other signer")
    with Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends:
        if notation_policy is not None:
            check = _by_notation(notation_policy, notation_stores, name)
        else:
            trusted = whom_to_trust(key=key, identity=identity, issuer=issuer)
            root = read_trust_root(trusted_root)
            if root is None and key is None:
                raise InvalidTrust(
                    "an identity needs a trust root to be verified by", hint="give --trusted-root"
                )
            check = partial(_check, trusted=trusted, root=root)
        with open_image(name, ends) as image:
            good, refused = _sort(image, check, "notation" if notation_policy is not None else "sigstore")
            digest, shown = image.digest, str(image.endpoint)
    if not any(_is_wanted(one, kind) for one in good):
        raise _not_signed(shown, digest, good, refused, kind)
    return VerifiedImage(shown, digest, tuple(good), tuple(refused))


Check = Callable[[Candidate, ManifestBytes], Verified]
"""Whether a signature holds for the manifest it belongs to."""


def _sort(image: ImageThere, check: Check, family: str) -> tuple[list[Attested], list[str]]:
    good, refused = list[Attested](), list[str]()
    held = image.origin.source.get_manifest(image.digest)
    for found in find_signatures(image):
        if (found.form == "notation") != (family == "notation"):
            continue
        try:
            good.append(Attested(found.manifest, found.form, check(found, held)))
        except SignatureRefused as error:
            refused.append(f"{found.manifest}: {error.message}")
    return good, refused + image.skipped


def _by_notation(path: Path, stores: Path | None, name: str) -> Check:
    from entrepot.actions.notation import STORES, read_policy, read_stores
    from entrepot.signing.notation import parse_notation
    from entrepot.signing.notation_trust import check_notation

    reference = parse_endpoint(name).reference
    if reference is None:
        raise InvalidTrust(f"{name} names no repository that a trust policy could be for")
    policy = read_policy(path, reference.name)
    if policy.actions is None:
        raise NotSigned(f"the trust policy {policy.name!r} skips {reference.name}: nothing was verified")
    held = read_stores(stores or path.parent / STORES, policy)
    return lambda found, image: check_notation(
        parse_notation(found.content, found.media_type), image.descriptor(), policy, held
    )


def _check(found: Candidate, held: ManifestBytes, *, trusted: Trusted, root: TrustRoot | None) -> Verified:
    digest, raw = held.digest, held.raw
    if found.form == "tag":
        return verify_layer(found.media_type, found.content, found.annotations, digest, trusted, root)
    return verify_bundle(found.content, SignedBytes(raw), trusted, root)


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
