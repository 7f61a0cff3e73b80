"""What can be wrong with a signature, and with what is needed to check one."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import InvalidInput, VerificationFailed


class SignatureRefused(VerificationFailed):
    """The signature, or a proof beside it, does not hold. The message is the reason."""

    code: ClassVar[str] = "signature-refused"


class UnreadableSignature(SignatureRefused):
    """A bundle, an envelope or a log entry is not what its format says."""

    code: ClassVar[str] = "unreadable-signature"


class InvalidTrust(InvalidInput):
    """A key, trust root or trust policy of the caller's cannot be used."""

    code: ClassVar[str] = "invalid-trust"
