"""Whether a bucket removes the parts of uploads that were never completed.

A process that is killed in the middle of a large upload leaves parts that no listing shows and that cost
money until somebody aborts them; buckets do that by themselves when they have a rule. The library for the
store can't ask for the rule: it signs URLs of objects alone, and quotes a `?lifecycle` given to it as a path.
So this one request is signed here (AWS signature, version 4); botocore, which could, is a wheel of 17 MB.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlsplit

from entrepot.server.doctor.verdict import CheckVerdict, ok, skip, warn

__all__ = ["RULE", "BucketLogin", "check_lifecycle", "signed_headers"]

TIMEOUT_S: Final = 15.0
RULE: Final = (
    '{"Rules":[{"ID":"entrepot","Status":"Enabled","Filter":{"Prefix":""},'
    '"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":2}}]}'
)
_EMPTY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class BucketLogin:
    """How an S3 bucket is reached."""

    url: str
    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str


def check_lifecycle(login: BucketLogin) -> CheckVerdict:
    """Look for a rule that aborts incomplete multipart uploads."""
    mend = f"give the bucket this rule: {RULE}"
    by_hand = f"look by hand whether the bucket aborts incomplete multipart uploads; {mend}"
    if not login.url.startswith("s3://") or not login.access_key_id:
        return skip("lifecycle", by_hand)
    bucket = login.url.removeprefix("s3://").partition("/")[0]
    endpoint = login.endpoint or f"https://s3.{login.region or 'us-east-1'}.amazonaws.com"
    try:
        status, body = _get(login, endpoint, f"/{quote(bucket)}", "lifecycle=")
    except (OSError, http.client.HTTPException) as error:
        return skip("lifecycle", f"the bucket did not answer: {error}; {by_hand}")
    if status == 404:
        return warn("lifecycle", "the bucket keeps the parts of uploads that were never completed", mend)
    if status != 200:
        return skip("lifecycle", f"the bucket answered {status}; {by_hand}")
    rules = [rule.partition("</Rule>")[0] for rule in body.split("<Rule>")[1:]]
    if any("<AbortIncompleteMultipartUpload>" in rule and ">Enabled<" in rule for rule in rules):
        return ok("lifecycle", "the bucket removes the parts of uploads that were never completed")
    return warn("lifecycle", "no rule of the bucket aborts incomplete multipart uploads", mend)


def _get(login: BucketLogin, endpoint: str, path: str, query: str) -> tuple[int, str]:
    parts = urlsplit(endpoint)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        headers = signed_headers(login, parts.netloc, path, query, datetime.now(UTC))
        connection.request("GET", f"{path}?{query}", headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 20).decode("utf-8", "replace")
    finally:
        connection.close()


def signed_headers(login: BucketLogin, host: str, path: str, query: str, now: datetime) -> Mapping[str, str]:
    """Headers of a GET without a body. Pure."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    region = login.region or "us-east-1"
    headers = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"GET\n{path}\n{query}\n{lines}\n{names}\n{_EMPTY}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{login.secret_access_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{login.access_key_id}/{scope}"
    signed = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": signed}
