"""URLs of a content delivery network in front of the bucket.

CloudFront's are signed with a canned policy: RSA and SHA-1 are what it takes. Without a key the network is
trusted to be reachable by those only who may read; names in the bucket are random and never listed.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from entrepot.errors import InvalidInput

__all__ = ["CdnUrls"]


class CdnUrls:
    """Makes the URL of a physical name below `prefix`. Raises InvalidInput when the key can't be used."""

    def __init__(
        self,
        prefix: str,
        *,
        key_id: str = "",
        key_file: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._prefix = prefix.rstrip("/")
        self._key_id = key_id
        self._sign = None if key_file is None else _signer(key_file)
        self._now = now

    def __call__(self, phys: str, expires: timedelta) -> str:
        url = f"{self._prefix}/{quote(phys)}"
        if self._sign is None:
            return url
        until = int(self._now() + expires.total_seconds())
        statement = {"Resource": url, "Condition": {"DateLessThan": {"AWS:EpochTime": until}}}
        policy = json.dumps({"Statement": [statement]}, separators=(",", ":")).encode()
        signature = base64.b64encode(self._sign(policy)).translate(_URL_SAFE).decode()
        return f"{url}?Expires={until}&Signature={signature}&Key-Pair-Id={quote(self._key_id)}"


_URL_SAFE = bytes.maketrans(b"+=/", b"-_~")


def _signer(path: Path) -> Callable[[bytes], bytes]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(f"storage.cdn_key_file: {path} can't be read as a private key") from error
    if not isinstance(key, RSAPrivateKey):
        raise InvalidInput(f"storage.cdn_key_file: {path} is not an RSA key, which CloudFront wants")
    return lambda data: key.sign(data, PKCS1v15(), SHA1())  # noqa: S303 - CloudFront takes nothing else
