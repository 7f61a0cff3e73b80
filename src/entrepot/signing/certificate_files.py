"""Certificates as bytes, read or refused: a stranger's must not get any further than that."""

from __future__ import annotations

import warnings

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

# Said of certificates with a serial number of zero or less: a stranger's, not ours to mend, and Python would
# print lines of its source to the user.
warnings.filterwarnings("ignore", "Parsed a serial number", CryptographyDeprecationWarning)

_UNREADABLE = (ValueError, x509.InvalidVersion)


def read_certificates(raw: bytes) -> tuple[x509.Certificate, ...]:
    """One in DER, or some in PEM. Raises ValueError, and nothing else, whatever the bytes."""
    try:
        if raw.lstrip().startswith(b"-----BEGIN"):
            return tuple(x509.load_pem_x509_certificates(raw))
        return (x509.load_der_x509_certificate(raw),)
    except _UNREADABLE as error:
        raise ValueError("not a certificate") from error


def read_certificate(raw: bytes) -> x509.Certificate:
    """The first, as above."""
    return read_certificates(raw)[0]
