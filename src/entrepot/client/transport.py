"""One HTTP request, one answer: connections, TLS, proxies, and limits on what comes back.

No retries, no redirects, no authentication here (`session` does those). urllib3's errors do not leave this
module: they become `ConnectionBroken`, which says whether the request can have reached the server.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProxyError, SSLError

from entrepot.client.errors import AnswerTooLarge, DestinationForbidden, RegistryMisbehaved
from entrepot.client.hosts import Trust, is_loopback, split_host
from entrepot.client.reach import Reach, guarded_pools, literal_reach, require_reach
from entrepot.client.settings import ClientSettings

log = logging.getLogger(__name__)

BUFFER_BYTES = 1024 * 1024
_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(msgspec.Struct, frozen=True):
    """Scheme, host and port: what credentials are bound to."""

    scheme: str
    name: str
    """Host name or address, lower case, no brackets."""
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Raises DestinationForbidden for anything but a plain http(s) URL with a host."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise DestinationForbidden(f"{url!r} is not a URL") from error
        scheme = parts.scheme.lower()
        if scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise DestinationForbidden(f"{_shown(url)} is not an http or https address")
        if parts.username is not None or parts.password is not None:
            raise DestinationForbidden(f"{_shown(url)} carries a user name; such addresses are not followed")
        return cls(scheme, parts.hostname.lower(), port or _DEFAULT_PORTS[scheme])

    @property
    def host(self) -> str:
        """`host[:port]`, the port only where it is not the scheme's own."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == _DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"

    def is_host(self, host: str) -> bool:
        """Whether `host[:port]` (the scheme's port when there is none) is this origin's."""
        name, port = split_host(host)
        return name.lower() == self.name and (port or _DEFAULT_PORTS[self.scheme]) == self.port


def followed(base: str, place: str) -> str:
    """Where a Location leads from `base`. Raises DestinationForbidden when it is no URL."""
    try:
        return urljoin(base, place)
    except ValueError as error:
        raise DestinationForbidden(f"a Location of {_shown(base)} is not a URL") from error


def _shown(url: str) -> str:
    """`url` without user, query and fragment: safe to print."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"[:300]


class ConnectionBroken(Exception):
    """No answer, or it stopped in the middle. Internal: `session` turns it into an EntrepotError."""

    def __init__(self, reason: str, *, sent: bool, tls: bool = False, untrusted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        """False when the connection was never made: a retry cannot repeat anything."""
        self.tls = tls
        """The TLS handshake failed: perhaps the other side speaks plain HTTP."""
        self.untrusted = untrusted
        """The handshake failed because of the certificate."""


class Answer:
    """Status, headers and a body that is read at most once. Close it, or use it as a context manager."""

    def __init__(self, response: urllib3.BaseHTTPResponse, method: str, url: str) -> None:
        self._response = response
        self.method = method
        self.url = url
        self.status = response.status
        self.headers = response.headers
        encoding = (self.headers.get("Content-Encoding") or "identity").strip().lower()
        self._encoding = encoding
        # http.client's own response has a readinto without a copy; urllib3's goes through bytes.
        raw = getattr(response, "_fp", None)
        self._raw: Any = raw if hasattr(raw, "readinto") else response

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    @property
    def content_length(self) -> int | None:
        """The header's value, None when absent. Raises RegistryMisbehaved when it is not a length."""
        value = self.headers.get("Content-Length")
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 20):
            raise RegistryMisbehaved(f"{_shown(self.url)} answered with Content-Length {value[:40]!r}")
        return int(value)

    def require_identity(self) -> None:
        """Raises RegistryMisbehaved when the body is compressed in transit: we asked for it as it is."""
        if self._encoding not in {"", "identity"}:
            raise RegistryMisbehaved(
                f"{_shown(self.url)} sent Content-Encoding {self._encoding[:40]!r}; none was accepted",
                hint="a proxy in between that compresses must leave /v2/ alone",
            )

    def readinto(self, buffer: memoryview) -> int:
        """Fill from the body; 0 at its end. Raises ConnectionBroken."""
        with _translated(sent=True):
            return int(self._raw.readinto(buffer) or 0)

    def read_capped(self, limit: int, what: str) -> bytes:
        """The whole body, which must not be longer than `limit` bytes. Raises AnswerTooLarge."""
        self.require_identity()
        length = self.content_length
        if length is not None and length > limit:
            self.close()
            raise AnswerTooLarge(f"{what} from {_shown(self.url)} is {length} bytes; the limit is {limit}")
        body = bytearray()
        while True:
            with _translated(sent=True):
                chunk = self._raw.read(min(limit + 1 - len(body), 65536))
            if not chunk:
                break
            body += chunk
            if len(body) > limit:
                self.close()
                raise AnswerTooLarge(
                    f"{what} from {_shown(self.url)} is longer than the limit of {limit} bytes"
                )
        if length is not None and self.method != "HEAD" and len(body) < length:
            raise ConnectionBroken("the answer was cut off", sent=True)
        self.release()
        return bytes(body)

    def release(self) -> None:
        """Give the connection back; only after the body has been read to its end."""
        self._response.release_conn()

    def discard(self) -> None:
        """Be done with an answer whose body is of no interest; after a short one the connection lives on."""
        try:
            length = self.content_length
            if self.method == "HEAD" or self.status in {204, 304} or (length is not None and length <= 65536):
                with _translated(sent=True):
                    while self._raw.read(65536):
                        pass
                self.release()
                return
        except (ConnectionBroken, RegistryMisbehaved):
            pass
        self.close()

    def shut_down(self) -> None:
        """Wake up a thread that waits for the body; its read fails."""
        with contextlib.suppress(HTTPError, OSError, ValueError, RuntimeError):
            self._response.shutdown()

    def close(self) -> None:
        with contextlib.suppress(HTTPError, OSError):
            self._response.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Transport:
    """Connections of one trust configuration. Thread safe."""

    def __init__(self, settings: ClientSettings, trust: Trust) -> None:
        self._settings = settings
        self._trust = trust
        self._lock = threading.Lock()
        self._managers: dict[str, urllib3.PoolManager] = {}
        self._reached: dict[str, Reach] = {}

    def reached(self, origin: Origin) -> Reach | None:
        """How far inside the host was when it was last connected to; None: never, or through a proxy."""
        return self._reached.get(origin.name)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[memoryview] | None = None,
        *,
        most: Reach = Reach.STRANGE,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send once. `body` may be an iterable of buffers when headers carry Content-Length.

        Raises ConnectionBroken; DestinationForbidden for a host further inside than `most`.
        """
        origin = Origin.of(url)
        if self._settings.public_addresses_only:
            most = Reach.PUBLIC
        # Through a proxy this is all that can be judged; else every address is, when it is connected to.
        named = literal_reach(origin.name)
        if named is not None:
            require_reach(named, most, str(origin))
        complete = {"User-Agent": self._settings.user_agent, "Accept-Encoding": "identity", **headers}
        timeout = urllib3.Timeout(
            connect=min(timeout_s or self._settings.connect_timeout_s, self._settings.connect_timeout_s),
            read=timeout_s or self._settings.read_timeout_s,
        )
        with _translated():
            response = self._manager(origin, most).urlopen(
                method,
                url,
                body=body,
                headers=complete,
                redirect=False,
                retries=False,
                timeout=timeout,
                preload_content=False,
                decode_content=False,
            )
        scheme = complete.get("Authorization", "none").partition(" ")[0].lower()
        log.debug("http %s %s auth=%s -> %s", method, _shown(url), scheme, response.status)
        return Answer(response, method, url)

    def close(self) -> None:
        with self._lock:
            for manager in self._managers.values():
                manager.clear()
            self._managers.clear()

    def _manager(self, origin: Origin, most: Reach) -> urllib3.PoolManager:
        proxy = proxy_for(origin, self._settings.proxies, self._settings.no_proxy)
        # A connection that one request may use, another may not.
        key = f"{origin.scheme} {most} {proxy or ''}"
        with self._lock:
            manager = self._managers.get(key)
            if manager is None:
                manager = self._managers[key] = self._new_manager(origin.scheme, proxy, most)
            return manager

    def _new_manager(self, scheme: str, proxy: str | None, most: Reach) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "num_pools": 16,
            "maxsize": self._settings.connections,
            "block": False,
            "blocksize": BUFFER_BYTES,
            "socket_options": [
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            ],
        }
        if scheme == "https":
            options["ssl_context"] = ssl_context(self._trust)
            if not self._trust.verify:
                options["assert_hostname"] = False
                # Whoever set `insecure` knows; a warning for each connection helps nobody.
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if proxy is not None:
            parts = urlsplit(proxy)
            if parts.scheme not in {"http", "https"}:
                raise ConnectionBroken(f"the proxy {_shown(proxy)} is neither http nor https", sent=False)
            if parts.username:
                options["proxy_headers"] = urllib3.make_headers(
                    proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                )
            host = parts.netloc.rpartition("@")[2]
            return urllib3.ProxyManager(f"{parts.scheme}://{host}", **options)
        manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = guarded_pools(most, connected=self._note_reach)
        return manager

    def _note_reach(self, host: str, _made: socket.socket, reach: Reach) -> None:
        self._reached[host.lower()] = reach


def ssl_context(trust: Trust) -> ssl.SSLContext:
    """A client context. Raises ConnectionBroken when a certificate file cannot be used."""
    if trust.verify:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        for path in trust.ca_files:
            context.load_verify_locations(cafile=str(path))
        if trust.client_certificate is not None:
            context.load_cert_chain(
                str(trust.client_certificate), str(trust.client_key or trust.client_certificate)
            )
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (*trust.ca_files, trust.client_certificate) if path)
        raise ConnectionBroken(f"certificate files cannot be used ({files}): {error}", sent=False) from error
    return context


def proxy_for(origin: Origin, proxies: Mapping[str, str], no_proxy: str) -> str | None:
    """The proxy for a request. This machine is never reached through one."""
    proxy = proxies.get(origin.scheme)
    if proxy is None or is_loopback(origin.host):
        return None
    return None if _bypassed(origin, no_proxy) else proxy


def _bypassed(origin: Origin, no_proxy: str) -> bool:
    """NO_PROXY: `*`, domains (a leading dot is allowed), addresses, networks; each with an optional port."""
    for entry in (item.strip().lower() for item in no_proxy.split(",")):
        if not entry:
            continue
        if entry == "*":
            return True
        if "/" in entry:
            with contextlib.suppress(ValueError):
                if ipaddress.ip_address(origin.name) in ipaddress.ip_network(entry, strict=False):
                    return True
            continue
        name, _, port = entry.partition(":") if entry.count(":") == 1 else (entry.strip("[]"), "", "")
        if port and port != str(origin.port):
            continue
        name = name.removeprefix("*").removeprefix(".")
        if origin.name == name or origin.name.endswith(f".{name}"):
            return True
    return False


@contextlib.contextmanager
def _translated(*, sent: bool | None = None) -> Iterator[None]:
    try:
        yield
    except NewConnectionError as error:
        raise ConnectionBroken(_reason(error), sent=False) from error
    except SSLError as error:
        cause = _cause(error, ssl.SSLError)
        untrusted = isinstance(cause, ssl.SSLCertVerificationError)
        raise ConnectionBroken(_reason(error), sent=bool(sent), tls=True, untrusted=untrusted) from error
    except ProxyError as error:
        raise ConnectionBroken(f"the proxy did not connect: {_reason(error)}", sent=False) from error
    except urllib3.exceptions.ConnectTimeoutError as error:
        raise ConnectionBroken("the connection was not made in time", sent=False) from error
    except urllib3.exceptions.ReadTimeoutError as error:
        raise ConnectionBroken("no answer in time", sent=True) from error
    except (HTTPError, OSError) as error:
        raise ConnectionBroken(_reason(error), sent=sent is not False) from error
    except ValueError as error:
        # http.client: bad chunk sizes, reads on a file closed by another thread.
        raise ConnectionBroken(f"unreadable answer: {error}", sent=True) from error
    except Exception as error:
        if type(error).__module__ == "http.client":
            raise ConnectionBroken(_reason(error), sent=True) from error
        raise


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The first exception of `kind` in the chain of causes and arguments."""
    seen: list[BaseException] = [error]
    for item in seen:
        if isinstance(item, kind):
            return item
        following = [item.__cause__, item.__context__, *item.args]
        seen.extend(other for other in following if isinstance(other, BaseException) and other not in seen)
        if len(seen) > 20:
            break
    return None


def _reason(error: BaseException) -> str:
    """The innermost plain sentence: `Connection refused` rather than urllib3's repr."""
    inner = _cause(error, OSError)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {inner.verify_message}"
    if isinstance(inner, ssl.SSLError):
        return f"TLS failed: {inner.reason or inner}"
    if isinstance(inner, socket.gaierror):
        return "no such host"
    if isinstance(inner, TimeoutError):
        return "timed out"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    text = str(error)
    return text.partition("(")[0].strip(" ,:") or type(error).__name__ if text.startswith("(") else text[:200]
