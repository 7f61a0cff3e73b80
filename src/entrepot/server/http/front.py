"""The first thing a request meets and the last that sees its answer.

In order: what the request is (behind a proxy: who really sent it), how many that address has under way, size
limits of its head, open mode's Host and Origin rules, then the application, with the watch over whoever sends
its body; afterwards the access log and the figures. Every answer carries X-Request-Id.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, Protocol

from entrepot.observability.logs import get_log
from entrepot.oci.distribution import ErrorCode
from entrepot.server.config.addresses import Network, in_networks
from entrepot.server.config.model import Config
from entrepot.server.http.connections import cut_connection
from entrepot.server.http.crowd import Crowd
from entrepot.server.http.open_mode_guard import SAFE_METHODS, HostRule, is_authority, is_foreign
from entrepot.server.http.refusals import invalid_code, refusal
from entrepot.server.http.request import ClientGone, HttpRequest, Receive, Scope, Send
from entrepot.server.http.response import Response
from entrepot.server.http.strict_transport import StrictTransport
from entrepot.server.http.watch import TransferWatch
from entrepot.server.telemetry.access_log import AccessLog, RequestIds
from entrepot.server.telemetry.metrics import Metrics

log = get_log(__name__)

SITE_ROUTE: Final = "site"
_STATUS: Final = {status: str(status) for status in range(100, 600)}
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
"""Counted by name; clients could make up any number of others."""
LINGER_S: Final = 2.0
"""How long what follows a refusal is still read: enough for the answer to arrive."""
NOBODY_LEFT: Final = 499
"""Logged as the status of a request whose client went away."""


class Handler(Protocol):
    """What answers behind a front: a Response, or None after it has sent an answer itself."""

    async def respond(self, request: HttpRequest) -> Response | None: ...

    async def delegate(self, request: HttpRequest, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer through ASGI what `respond` returned None for."""
        ...


class Front:
    """An ASGI application around a Handler; one per kind of listener."""

    def __init__(
        self,
        handler: Handler,
        *,
        config: Config,
        metrics: Metrics,
        access_log: AccessLog,
        ids: RequestIds,
        watch: TransferWatch,
        crowd: Crowd,
        proxies: Sequence[Network] = (),
        host_rule: HostRule | None = None,
        check_origin: bool = False,
        scheme: str = "http",
        strict_transport: StrictTransport | None = None,
    ) -> None:
        self._handler = handler
        self._limits = config.limits
        self._metrics = metrics
        self._log = access_log
        self._ids = ids
        self._watch = watch
        self._crowd = crowd
        self._proxies = proxies
        self._host_rule = host_rule
        self._check_origin = check_origin
        self._scheme = scheme
        self._strict_transport = strict_transport or StrictTransport()
        self._public_origin = config.server.public_url.rstrip("/").lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started, when = time.perf_counter(), time.time()
        request = self._request(scope, receive)
        peer = scope["client"]
        status = sent = 0
        meter = None
        share = self._crowd.enter(request.address, peer)
        try:
            refused = self._refused(request, scope) if share else _too_many()
            response = refused
            if response is None:
                if request.method not in SAFE_METHODS and _may_have_body(request):
                    meter = self._watch.arriving(request)
                response = await self._respond(request)
            if response is None:
                status, sent = await self._delegate(request, scope, send)
            else:
                status, sent = await self._send(request, response, send)
        except ClientGone:
            status = NOBODY_LEFT  # in the middle of the answer
        except asyncio.CancelledError:
            # A download slower than the limit: what has been handed over already must not be waited for.
            status = NOBODY_LEFT
            self._metrics.slow.add()
            await asyncio.to_thread(cut_connection, peer)
        except Exception:
            status = 500
            log.exception("answer broken off", path=request.path, request_id=request.id)
            raise
        finally:
            if meter is not None:
                self._watch.end(meter, request)
            if share:
                self._crowd.leave(share, peer)
            self._account(request, when, time.perf_counter() - started, status, sent)
        if status >= 400 and status != 408 and refused is None and request.method not in SAFE_METHODS:
            # Not behind a head that was refused: nothing there can be trusted to be its body.
            await _read_on(request)

    async def _respond(self, request: HttpRequest) -> Response | None:
        try:
            return await self._handler.respond(request)
        except ClientGone as error:
            # Whoever only closed its sending side, or sent a chunk that is none, still reads this.
            return refusal(400, ErrorCode.SIZE_INVALID, error.message)
        except asyncio.CancelledError:
            return self._too_slow(request)

    def _too_slow(self, request: HttpRequest) -> Response:
        """Only the watch over slow transfers cancels a request that has not been answered."""
        self._metrics.slow.add()
        limits = self._limits
        return refusal(
            408,
            invalid_code(request.path),
            f"the request's body did not begin within {limits.body_timeout:g} seconds, "
            f"or moved less than {limits.min_body_rate} bytes a second",
        )

    def _request(self, scope: Scope, receive: Receive) -> HttpRequest:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        client = scope.get("client")
        address, scheme = (client[0] if client else ""), self._scheme
        host = headers.get(b"host", b"").decode("latin-1")
        request_id = self._ids.next()
        if self._proxies and in_networks(address, self._proxies):
            address = self._forwarded_address(headers, address)
            proto = headers.get(b"x-forwarded-proto", b"").split(b",")[0].strip().lower()
            scheme = proto.decode() if proto in (b"http", b"https") else scheme
            named = headers.get(b"x-forwarded-host", b"").split(b",")[0].strip()
            host = named.decode("latin-1") if named else host
            given = headers.get(b"x-request-id", b"")
            if 0 < len(given) <= 64 and given.replace(b"-", b"").isalnum():
                request_id = given.decode("ascii")
        return HttpRequest(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            headers=headers,
            receive=receive,
            query_string=scope["query_string"],
            address=address,
            scheme=scheme,
            host=host,
            id=request_id,
        )

    def _forwarded_address(self, headers: dict[bytes, bytes], peer: str) -> str:
        """The last address in X-Forwarded-For that is not one of our proxies."""
        chain = [piece.strip() for piece in headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")]
        for address in reversed([piece for piece in chain if piece]):
            if not in_networks(address, self._proxies):
                return address[:64]
        return peer

    def _refused(self, request: HttpRequest, scope: Scope) -> Response | None:
        limits, headers = self._limits, request.headers
        if len(request.path) + len(request.query_string) > limits.url_bytes:
            return refusal(
                414,
                ErrorCode.UNSUPPORTED,
                f"path and query are longer than {limits.url_bytes} bytes",
            )
        if request.query_string and b"%00" in request.query_string:
            # No name, tag or sentence has one, and not every database can be asked for it.
            return refusal(400, ErrorCode.UNSUPPORTED, "the query holds a NUL byte; leave it out")
        listed = scope["headers"]
        if len(listed) > limits.header_count:
            return refusal(431, ErrorCode.UNSUPPORTED, f"more than {limits.header_count} headers")
        if len(listed) != len(headers) and sum(name == b"host" for name, _ in listed) > 1:
            return refusal(400, ErrorCode.UNSUPPORTED, "a request has one Host header")
        # Granian puts an empty one where there is none, which HTTP/1.0 allows.
        if (request.host or scope["http_version"] != "1") and not is_authority(request.host):
            return refusal(400, ErrorCode.UNSUPPORTED, "the Host header is missing, or names no host")
        if len(b"".join(chain.from_iterable(listed))) > limits.header_bytes:
            return refusal(431, ErrorCode.UNSUPPORTED, f"more than {limits.header_bytes} bytes of headers")
        if self._host_rule is not None and not self._host_rule.allows(request.host):
            return refusal(
                421,
                ErrorCode.DENIED,
                f"this open registry does not go by the name {request.host[:100]!r}; "
                "reach it as localhost, or add the name to server.allowed_hosts",
            )
        if request.method in SAFE_METHODS:
            return None
        if self._check_origin and is_foreign(
            method=request.method,
            own=(request.base_url.lower(), self._public_origin),
            origin=request.header(b"origin"),
            fetch_site=request.header(b"sec-fetch-site"),
        ):
            return refusal(
                403, ErrorCode.DENIED, "a page of another site may not change this registry; nothing was done"
            )
        if b"transfer-encoding" in headers and b"content-length" in headers:
            return refusal(
                400, ErrorCode.SIZE_INVALID, "Content-Length and Transfer-Encoding exclude each other"
            )
        return None

    async def _send(self, request: HttpRequest, response: Response, send: Send) -> tuple[int, int]:
        headers = response.headers
        headers.append((b"x-request-id", request.id.encode("ascii")))
        if request.scheme == "https":
            headers.extend(self._strict_transport.headers(request.host))
        start = {"type": "http.response.start", "status": response.status, "headers": headers}
        if response.stream is None:
            await send(start)
            body = b"" if request.method == "HEAD" else response.body
            await send({"type": "http.response.body", "body": body})
            return response.status, len(body)
        return response.status, await self._send_stream(request, response, start, send)

    async def _send_stream(self, request: HttpRequest, response: Response, start: Any, send: Send) -> int:
        stream = response.stream
        assert stream is not None
        sent = 0
        gone = asyncio.ensure_future(_disconnected(request.receive))
        try:
            with self._watch.metered() as meter:
                await send(start)
                async for chunk in stream:
                    if gone.done():
                        raise ClientGone(f"the client left after {sent} bytes")
                    sent += len(chunk)
                    await send(
                        {"type": "http.response.body", "body": chunk, "more_body": sent < response.size}
                    )
                    meter.moved = sent
                if not sent:
                    await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            with contextlib.suppress(Exception):
                await stream.aclose()
        return sent

    async def _delegate(self, request: HttpRequest, scope: Scope, send: Send) -> tuple[int, int]:
        status = sent = 0
        ours = [(b"x-request-id", request.id.encode("ascii"))]
        if request.scheme == "https":
            ours.extend(self._strict_transport.headers(request.host))

        async def watched(message: Any) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *ours]}
            else:
                sent += len(message.get("body", b""))
            await send(message)

        scope["client"] = (request.address, 0)
        scope["scheme"] = request.scheme
        scope["entrepot.request"] = request
        request.route = SITE_ROUTE
        try:
            await self._handler.delegate(request, scope, request.receive, watched)
        except asyncio.CancelledError:
            if status:
                raise
            return await self._send(request, self._too_slow(request), send)
        return status, sent

    def _account(self, request: HttpRequest, when: float, took: float, status: int, sent: int) -> None:
        metrics = self._metrics
        route = request.route
        counts = metrics.requests.counts
        method = request.method if route and request.method in _METHODS else "other"
        key = (method, route, _STATUS.get(status, "0"))
        counts[key] = counts.get(key, 0) + 1
        metrics.seconds.observe(took, route)
        if request.received:
            taken = metrics.received.counts
            taken[()] = taken.get((), 0) + request.received
        if sent:
            total = metrics.sent.counts
            total[()] = total.get((), 0) + sent
        if self._log.enabled:
            self._log.add(
                (
                    when,
                    took,
                    request.id,
                    request.method,
                    request.path,
                    request.query_string,
                    status,
                    sent,
                    request.address,
                    request.principal.name or request.principal.kind.value,
                    request.headers.get(b"user-agent", b""),
                    route,
                )
            )


def _may_have_body(request: HttpRequest) -> bool:
    """Over HTTP/2 nothing has to announce one."""
    return request.headers.get(b"content-length") != b"0"


def _too_many() -> Response:
    message = "this address has too many requests under way; wait for some of them to be answered"
    response = refusal(429, ErrorCode.TOOMANYREQUESTS, message)
    response.headers.append((b"retry-after", b"1"))
    return response


async def _read_on(request: HttpRequest) -> None:
    """Take what a refused client still sends, for a moment, and drop it.

    Closing while it writes would reset the connection, and most programs then tell of a broken pipe instead
    of the answer.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while not request.body_done:
                message = await request.receive()
                request.body_done = message["type"] != "http.request" or not message.get("more_body", False)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
