"""AWS signature version 4 for bodyless requests, enough to create a bucket."""

import datetime
import hashlib
import hmac
from urllib.parse import urlsplit

_REGION, _SERVICE = "us-east-1", "s3"
_EMPTY = hashlib.sha256(b"").hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def signed_headers(method: str, url: str, access_key: str, secret_key: str) -> dict[str, str]:
    """The headers that sign a request without body or query."""
    now = datetime.datetime.now(datetime.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    parts = urlsplit(url)
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"{method}\n{parts.path}\n\n{lines}\n{names}\n{_EMPTY}"
    scope = f"{day}/{_REGION}/{_SERVICE}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for part in (day, _REGION, _SERVICE, "aws4_request"):
        key = _hmac(key, part)
    signature = _hmac(key, to_sign).hex()
    credential = f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}"
    headers["authorization"] = f"{credential}, SignedHeaders={names}, Signature={signature}"
    return headers
