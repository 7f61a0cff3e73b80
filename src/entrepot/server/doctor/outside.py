"""Checks of an installation from the outside: what clients meet at the registry's address.

Everything is asked without an account, changes nothing, and looks as the clients' own requests do. Proxies in
front of a registry break just these: HEAD, large bodies, chunks, the Host name, the scheme of the realm.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from entrepot.client.challenge import parse_challenges
from entrepot.errors import EntrepotError
from entrepot.server.doctor.verdict import CheckVerdict, fail, ok, skip, warn

__all__ = ["check_wire"]

TIMEOUT_S: Final = 15.0
SOON_DAYS: Final = 21
_SKEW_S: Final = 60.0
_LARGE: Final = 10 << 30
_ZERO: Final = "sha256:" + "0" * 64
_DOCKER_ACCEPT: Final = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, */*"
)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A request as some client sends it, and what it may be answered with on a registry that is well."""

    who: str
    method: str
    path: str
    headers: Mapping[str, str]
    good: frozenset[int]
    mend: str


_ABSENT: Final = frozenset({401, 404})
_SHAPES: Final = (
    _Shape(
        "docker pull",
        "HEAD",
        "/v2/entrepot-doctor/none/manifests/latest",
        {"Accept": _DOCKER_ACCEPT, "User-Agent": "docker/28.5.2 go/go1.24"},
        _ABSENT,
        "let the proxy pass HEAD on as HEAD",
    ),
    _Shape(
        "containerd pull",
        "HEAD",
        "/v2/entrepot-doctor/none/manifests/latest?ns=registry.example.org",
        {"Accept": _DOCKER_ACCEPT, "User-Agent": "containerd/2.1"},
        _ABSENT,
        "let the proxy pass queries on",
    ),
    _Shape(
        "podman, skopeo pull",
        "GET",
        f"/v2/entrepot-doctor/none/blobs/{_ZERO}",
        {"Docker-Distribution-Api-Version": "registry/2.0", "User-Agent": "skopeo/1.9"},
        _ABSENT,
        "let the proxy pass paths with a colon on as they are",
    ),
    _Shape(
        "a download that goes on",
        "GET",
        f"/v2/entrepot-doctor/none/blobs/{_ZERO}",
        {"Range": "bytes=100-", "Accept-Encoding": "identity"},
        _ABSENT,
        "let the proxy pass Range on",
    ),
    _Shape(
        "signatures and SBOMs",
        "GET",
        f"/v2/entrepot-doctor/none/referrers/{_ZERO}",
        {"Accept": "application/vnd.oci.image.index.v1+json"},
        frozenset({200, 401, 404}),
        "let the proxy pass all of /v2/ on",
    ),
)


def check_wire(url: str, *, cafile: str | None = None) -> list[CheckVerdict]:
    """Ask the registry at `url` (`https://host[:port]`) as clients do."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return [fail("address", f"{url!r} is no address of a registry", "write https://registry.example.org")]
    there = _There(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), cafile)
    try:
        there.context(trusting=False)
    except (OSError, ssl.SSLError) as error:
        return [fail("tls", f"{cafile} holds no authorities: {error}", "name a file of certificates in PEM")]
    try:
        return list(_look(there))
    except http.client.HTTPException:
        mend = f"ask https://{parts.netloc}" if parts.scheme == "http" else "name the registry's own port"
        return [fail("address", f"what answers at {url} does not speak {parts.scheme.upper()}", mend)]
    except OSError as error:
        mend = "is `entrepot serve` running, its address right, and the way to it open?"
        return [fail("address", f"{url} can't be reached: {_why(error)}", mend)]


def _why(error: OSError | http.client.HTTPException) -> str:
    """Without the number that systems put before it."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _look(there: _There) -> Iterator[CheckVerdict]:
    if there.scheme == "https":
        yield from _check_certificate(there)
    elif not _is_loopback(there.host):
        yield from _say_plain_http(there)
    ping = there.ask("GET", "/v2/")
    yield from _check_ping(there, ping)
    yield from _check_clock(ping)
    for shape in _SHAPES:
        yield _check_shape(there, shape)
    yield _check_large_body(there)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _There:
    """The registry from the outside."""

    scheme: str
    host: str
    port: int
    cafile: str | None

    def context(self, *, trusting: bool) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.cafile is not None:
            context.load_verify_locations(self.cafile)
        if trusting:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def connect(self) -> http.client.HTTPConnection:
        if self.scheme == "http":
            return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        # The certificate has a verdict of its own; the rest is worth knowing all the same.
        context = self.context(trusting=True)
        return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_S, context=context)

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> _Answer:
        connection = self.connect()
        try:
            connection.request(method, path, headers=dict(headers or {}))
            return _answer(connection)
        finally:
            connection.close()


def _answer(connection: http.client.HTTPConnection) -> _Answer:
    got = connection.getresponse()
    return _Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read(1 << 20))


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.") or host.endswith(".localhost")


def _say_plain_http(there: _There) -> Iterator[CheckVerdict]:
    """What each kind of client makes of an address that is neither loopback nor HTTPS."""
    name = there.host if there.port == 80 else f"{there.host}:{there.port}"
    mend = "give it a certificate (tls.cert, tls.key), or put a proxy with TLS in front"
    yield warn("tls", f"{name} speaks plain HTTP: passwords and images can be read on the way", mend)
    for who, how in _PLAIN_HTTP:
        yield warn(
            "clients", f"{who} asks {name} over HTTPS only, and fails", f"better TLS; else {how(name)}"
        )


_PLAIN_HTTP: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    (
        "docker",
        lambda name: f'on each machine in /etc/docker/daemon.json: {{"insecure-registries": ["{name}"]}}',
    ),
    (
        "podman, buildah, skopeo",
        lambda name: (
            "on each machine in /etc/containers/registries.conf: "
            f'[[registry]] location = "{name}" insecure = true'
        ),
    ),
    (
        "containerd, Kubernetes",
        lambda name: f'on each node in /etc/containerd/certs.d/{name}/hosts.toml: server = "http://{name}"',
    ),
)


def _check_certificate(there: _There) -> Iterator[CheckVerdict]:
    try:
        with (
            socket.create_connection((there.host, there.port), timeout=TIMEOUT_S) as raw,
            there.context(trusting=False).wrap_socket(raw, server_hostname=there.host) as wrapped,
        ):
            ends = ssl.cert_time_to_seconds(str((wrapped.getpeercert() or {})["notAfter"]))
            version = wrapped.version()
    except ssl.SSLCertVerificationError as error:
        mend = _MEND_OF_CERTIFICATE.get(error.verify_code, _MEND_OF_TRUST)
        yield fail("tls", f"clients refuse the certificate: {error.verify_message}", mend)
        return
    except ssl.SSLError as error:
        yield fail("tls", f"no TLS can be agreed on: {error.reason}", "does this port speak HTTPS at all?")
        return
    days = (ends - time.time()) / 86400
    if days < SOON_DAYS:
        yield warn(
            "tls", f"the certificate ends in {days:.0f} days", "renew it; the server notices by itself"
        )
    else:
        yield ok("tls", f"{version}, trusted, {days:.0f} days left")


_MEND_OF_TRUST: Final = (
    "send the whole chain (tls.cert holds it, the server's own first); or let clients trust your authority, "
    "and name it here with --ca"
)
_WRONG_NAME: Final = "get a certificate for the name that clients use, or have them use a name that is in it"
_MEND_OF_CERTIFICATE: Final = {
    9: "the certificate begins later: is this machine's clock right?",
    10: "renew it, and put it where tls.cert points; the server notices by itself",
    62: _WRONG_NAME,
    64: _WRONG_NAME,
}
"""By OpenSSL's code of what is wrong (X509_V_ERR_…)."""


def _check_ping(there: _There, ping: _Answer) -> Iterator[CheckVerdict]:
    if ping.status == 421:
        mend = f"add {there.host} to server.allowed_hosts, or use accounts"
        yield fail("address", f"the registry does not go by the name {there.host}", mend)
        return
    if ping.status in (301, 302, 307, 308):
        elsewhere = ping.headers.get("location", "elsewhere")
        mend = "name that address with --url; clients need not follow"
        yield fail("address", f"/v2/ sends clients on to {elsewhere}", mend)
        return
    if ping.headers.get("docker-distribution-api-version") != "registry/2.0":
        mend = "let the proxy pass /v2/ and its headers on"
        yield fail("address", f"what answers /v2/ ({ping.status}) is no registry", mend)
        return
    if ping.status == 200:
        yield ok("address", "a registry that anybody may use")
        return
    if ping.status != 401:
        yield fail("address", f"/v2/ answers {ping.status}: {_words(ping)}", "see the server's log")
        return
    yield ok("address", "a registry that asks who you are")
    yield _check_realm(there, ping)


def _check_realm(there: _There, ping: _Answer) -> CheckVerdict:
    """Clients fetch their token where the challenge sends them; a proxy easily makes that a wrong place."""
    try:
        challenges = parse_challenges([ping.headers.get("www-authenticate", "")])
    except EntrepotError as error:
        return fail("realm", error.message, "let the proxy pass WWW-Authenticate on")
    realm = next((one.realm for one in challenges if one.scheme == "bearer"), "")
    if not realm:
        return fail("realm", "the 401 has no Bearer challenge", "let the proxy pass WWW-Authenticate on")
    parts = urlsplit(realm)
    mend = (
        "set server.public_url, or let the proxy send X-Forwarded-Proto and -Host "
        "and name it in server.behind_proxy"
    )
    if parts.scheme != there.scheme:
        return fail("realm", f"clients are sent to {realm}, not over {there.scheme}", mend)
    if not parts.hostname:
        return fail("realm", f"{realm!r} is no address", mend)
    giver = _There(
        parts.scheme,
        parts.hostname,
        parts.port or (443 if parts.scheme == "https" else 80),
        there.cafile,
    )
    try:
        answer = giver.ask("GET", f"{parts.path}?service=doctor&scope=repository:entrepot-doctor/none:pull")
    except (OSError, http.client.HTTPException) as error:
        return fail("realm", f"clients are sent to {realm}, which can't be reached: {_why(error)}", mend)
    if answer.status not in (200, 401):
        return fail("realm", f"{realm} answers {answer.status}: {_words(answer)}", mend)
    if parts.hostname != there.host:
        return warn("realm", f"clients are sent to {realm}, another host than {there.host}", mend)
    return ok("realm", f"tokens come from {realm}")


def _check_clock(ping: _Answer) -> Iterator[CheckVerdict]:
    date = ping.headers.get("date")
    if date is None:
        return
    try:
        skew_s = parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return
    if abs(skew_s) > _SKEW_S:
        mend = "run an NTP client on both: tokens live five minutes"
        yield fail("clock", f"the server's clock and this one differ by {abs(skew_s):.0f} s", mend)
    else:
        yield ok("clock", "agrees with the server's")


def _check_shape(there: _There, shape: _Shape) -> CheckVerdict:
    try:
        answer = there.ask(shape.method, shape.path, shape.headers)
    except (OSError, http.client.HTTPException) as error:
        return fail("clients", f"{shape.who}: {shape.method} {shape.path}: {error}", shape.mend)
    if answer.status not in shape.good:
        said = f"{shape.who}: {shape.method} {shape.path} answers {answer.status}: {_words(answer)}"
        return fail("clients", said, shape.mend)
    if answer.status == 401 and "scope=" not in answer.headers.get("www-authenticate", ""):
        return fail(
            "clients", f"{shape.who}: the 401 names no scope", "let the proxy pass WWW-Authenticate on"
        )
    return ok("clients", f"{shape.who}: {answer.status}, as it should be")


def _check_large_body(there: _There) -> CheckVerdict:
    """Announce a layer of 10 GiB, send none of it, and see who refuses."""
    connection = there.connect()
    try:
        connection.putrequest("PUT", "/v2/entrepot-doctor/none/blobs/uploads/none?digest=" + _ZERO)
        connection.putheader("Content-Length", str(_LARGE))
        connection.putheader("Content-Type", "application/octet-stream")
        connection.endheaders()
        answer = _answer(connection)
    except TimeoutError:
        return skip("clients", "nobody said anything about a layer of 10 GiB; a proxy may be collecting it")
    except (OSError, http.client.HTTPException) as error:
        return skip("clients", f"a layer of 10 GiB was cut off: {error}")
    finally:
        connection.close()
    if answer.status == 413:
        mend = "raise the proxy's limit (nginx: client_max_body_size 0), or limits.blob_bytes"
        return fail("clients", "large layers are refused: 413", mend)
    if answer.status not in (401, 404):
        return fail(
            "clients", f"a push is answered {answer.status}: {_words(answer)}", "see the server's log"
        )
    return ok("clients", f"a layer of 10 GiB: {answer.status}, as it should be without an account")


def _words(answer: _Answer) -> str:
    try:
        return str(json.loads(answer.body)["errors"][0]["message"])[:200]
    except (ValueError, KeyError, IndexError, TypeError):
        return answer.body[:80].decode("utf-8", "replace").strip() or "(nothing)"
