"""Notation's trust: policies (whose signature does where), stores (which roots), and the verdict by both.

Notary Project, "Trust Store and Trust Policy Specification". Revocation is not looked up: nothing is asked of
anybody here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.oid import ObjectIdentifier as Oid

from entrepot.oci.descriptor import Descriptor
from entrepot.signing.certificates import issued_by
from entrepot.signing.errors import InvalidTrust, SignatureRefused
from entrepot.signing.fields import Fields
from entrepot.signing.notation import SIGNING_AUTHORITY, NotationSignature, check_integrity
from entrepot.signing.timestamps import CLOCK_SKEW, token_time
from entrepot.signing.verdict import Verified

STORE_KINDS = ("ca", "signingAuthority", "tsa")
_SUBJECT = "x509.subject:"
_NAMES: dict[str, Oid] = {
    "C": NameOID.COUNTRY_NAME, "ST": NameOID.STATE_OR_PROVINCE_NAME, "S": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME, "O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}  # fmt: skip
_CHECKS = ("authenticity", "authenticTimestamp", "expiry", "revocation")
_LEVELS: dict[str, dict[str, str]] = {
    "strict": dict.fromkeys(_CHECKS, "enforce"),
    "permissive": dict.fromkeys(_CHECKS, "log") | {"authenticity": "enforce"},
    "audit": dict.fromkeys(_CHECKS, "log"),
}
Stores = Mapping[str, tuple[x509.Certificate, ...]]
"""`ca:name` → the certificates in it."""


@dataclass(frozen=True, slots=True)
class NotationPolicy:
    """Whose signatures do for some repositories."""

    name: str
    scopes: tuple[str, ...]
    actions: Mapping[str, str] | None
    """Of each check: enforce, log or skip. None where nothing is verified."""
    stores: tuple[str, ...]
    identities: tuple[str, ...]


def parse_policies(raw: bytes, where: str) -> tuple[NotationPolicy, ...]:
    """Raises InvalidTrust."""
    fields = Fields.parse(raw, where, InvalidTrust)
    if fields.text("version") != "1.0":
        raise fields.wrong("version", "is not 1.0")
    found = tuple(_policy(one) for one in fields.objects("trustPolicies"))
    scopes = [scope for one in found for scope in one.scopes]
    twice = sorted({scope for scope in scopes if scopes.count(scope) > 1})
    if not found or twice:
        raise InvalidTrust(
            f"{where}: " + (f"the scope {twice[0]} is in two policies" if twice else "no policies")
        )
    return found


def policy_for(policies: tuple[NotationPolicy, ...], repository: str) -> NotationPolicy:
    """The one that names the repository, else the one for all. Raises InvalidTrust when there is none."""
    for scope in (repository, "*"):
        for one in policies:
            if scope in one.scopes:
                return one
    raise InvalidTrust(f"no trust policy is for {repository}")


def _policy(fields: Fields) -> NotationPolicy:
    scopes = _texts(fields, "registryScopes")
    verification = fields.object("signatureVerification")
    level = verification.text("level")
    if not scopes or ("*" in scopes and len(scopes) > 1):
        raise fields.wrong("registryScopes", "names no repository, or others beside *")
    if level == "skip":
        if "*" in scopes:
            raise fields.wrong("signatureVerification", "can't be skip for *")
        return NotationPolicy(fields.text("name"), scopes, None, (), ())
    if level not in _LEVELS:
        raise verification.wrong("level", f"{level[:40]!r} is not known")
    override = verification.object("override").values if verification.has("override") else {}
    for check, action in override.items():
        if check not in _CHECKS or action not in ("enforce", "log", "skip"):
            raise verification.wrong("override", f"{check[:40]!r} cannot be {str(action)[:40]!r}")
    stores, identities = _texts(fields, "trustStores"), _texts(fields, "trustedIdentities")
    wrong = [one for one in stores if one.partition(":")[0] not in STORE_KINDS or not one.partition(":")[2]]
    if not stores or wrong:
        raise fields.wrong("trustStores", f"has {wrong[0][:80]!r}" if wrong else "is empty")
    if not identities or ("*" in identities and len(identities) > 1):
        raise fields.wrong("trustedIdentities", "names nobody, or others beside *")
    for identity in identities:
        if identity != "*":
            _subject(identity, fields)
    return NotationPolicy(fields.text("name"), scopes, _LEVELS[level] | override, stores, identities)


def _texts(fields: Fields, key: str) -> tuple[str, ...]:
    value = fields.values.get(key)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise fields.wrong(key, "is not a list of texts")
    return tuple(value)


def _subject(identity: str, fields: Fields) -> list[tuple[Oid, str]]:
    """`x509.subject: C=US, ST=WA, O=example, CN=signer` in parts."""
    if not identity.startswith(_SUBJECT):
        raise fields.wrong("trustedIdentities", f"{identity[:80]!r} does not begin with {_SUBJECT}")
    found = []
    for part in _split(identity.removeprefix(_SUBJECT)):
        name, equals, value = part.partition("=")
        oid = _NAMES.get(name.strip().upper())
        if oid is None or not equals or not value.strip():
            raise fields.wrong("trustedIdentities", f"{part.strip()[:80]!r} cannot be read")
        found.append((oid, value.strip()))
    needed = {NameOID.COUNTRY_NAME, NameOID.STATE_OR_PROVINCE_NAME, NameOID.ORGANIZATION_NAME}
    if not needed <= {oid for oid, _ in found}:
        raise fields.wrong("trustedIdentities", f"{identity[:80]!r} needs C, ST and O")
    return found


def _split(text: str) -> list[str]:
    """At commas, but for those written as `\\,`."""
    return [part.replace("\0", ",") for part in text.replace("\\,", "\0").split(",")]


def check_notation(
    found: NotationSignature,
    image: Descriptor,
    policy: NotationPolicy,
    stores: Stores,
    *,
    now: datetime | None = None,
) -> Verified:
    """Raises SignatureRefused for what the policy enforces; what it only logs becomes a note."""
    check_integrity(found, image)
    moment = now or datetime.now(UTC)
    notes = []
    actions = policy.actions or {}
    signed_at: datetime | None = None
    for check in ("authenticity", "authenticTimestamp", "expiry"):
        action = actions.get(check, "enforce")
        if action == "skip":
            continue
        try:
            if check == "authenticity":
                _check_signer(found, policy, stores)
            elif check == "authenticTimestamp":
                signed_at = _check_time(found, policy, stores, moment)
            elif found.expires is not None and moment >= found.expires:
                raise SignatureRefused(f"the signature expired on {found.expires:%Y-%m-%d %H:%M:%S} UTC")
        except SignatureRefused as error:
            if action == "enforce":
                raise
            notes.append(error.message)
    if actions.get("revocation") != "skip":
        notes.append("whether certificates were revoked was not asked: nothing is fetched")
    return Verified(found.chain[0].subject.rfc4514_string(), signed_at, notes=tuple(notes))


def _check_signer(found: NotationSignature, policy: NotationPolicy, stores: Stores) -> None:
    for child, parent in zip(found.chain, found.chain[1:], strict=False):
        if not issued_by(child, parent):
            raise SignatureRefused("the chain of certificates does not hold together")
    _check_profile(found.chain[0], alone=len(found.chain) == 1)
    kind = "signingAuthority" if found.scheme == SIGNING_AUTHORITY else "ca"
    trusted = {one for name in policy.stores if name.startswith(f"{kind}:") for one in stores.get(name, ())}
    if not any(one in trusted for one in found.chain):
        raise SignatureRefused(f"no trust store of the policy {policy.name!r} has a certificate of the chain")
    if "*" in policy.identities:
        return
    subject = {(one.oid, str(one.value)) for one in found.chain[0].subject}
    place = Fields({}, "policy", InvalidTrust)
    if not any(set(_subject(one, place)) <= subject for one in policy.identities):
        named = found.chain[0].subject.rfc4514_string()[:200]
        raise SignatureRefused(f"signed by {named}, whom the policy {policy.name!r} does not name")


def _check_profile(leaf: x509.Certificate, *, alone: bool) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.digital_signature or (usage.key_cert_sign and not alone):
            raise SignatureRefused("the certificate is not for signatures")
        extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as error:
        if error.oid == x509.KeyUsage.oid:
            raise SignatureRefused("the certificate does not say what it is for") from error
        return
    except (ValueError, x509.DuplicateExtension) as error:
        raise SignatureRefused("the certificate cannot be read") from error
    if ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise SignatureRefused("the certificate is not for signing code")


def _check_time(
    found: NotationSignature, policy: NotationPolicy, stores: Stores, now: datetime
) -> datetime | None:
    """When it was signed, where others say so; without them the certificates have to be valid now."""
    if found.signed_at > now + CLOCK_SKEW:
        raise SignatureRefused(f"it is from the future ({found.signed_at:%Y-%m-%d %H:%M:%S} UTC)")
    if found.scheme == SIGNING_AUTHORITY:
        _require_valid(found, found.signed_at, "when it was signed")
        return found.signed_at
    roots = [one for name in policy.stores if name.startswith("tsa:") for one in stores.get(name, ())]
    if found.stamp is not None and roots:
        at = token_time(found.stamp, found.signature, roots)
        if at > now + CLOCK_SKEW:
            raise SignatureRefused(f"timestamp: it is from the future ({at:%Y-%m-%d %H:%M:%S} UTC)")
        _require_valid(found, at, "when it was signed")
        return at
    _require_valid(found, now, "now, and no timestamp says that it was")
    return None


def _require_valid(found: NotationSignature, at: datetime, when: str) -> None:
    for one in found.chain:
        if not one.not_valid_before_utc <= at <= one.not_valid_after_utc:
            named = one.subject.rfc4514_string()[:200]
            raise SignatureRefused(f"the certificate of {named} is not valid {when}")
