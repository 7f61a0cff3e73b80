"""Questions to one upstream: `entrepot.client` in threads, its errors in words for our clients.

What was asked in vain is not asked again for a moment: while an upstream can't be used, those who wait for it
learn so at once, and what is kept here is served without waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

from entrepot.client.blobs import RemoteBlob
from entrepot.client.credentials import Credential, CredentialStore, OneCredential
from entrepot.client.errors import DestinationForbidden, RegistryFailed, RegistryUnreachable, TooManyRequests
from entrepot.client.registry import Registry
from entrepot.client.repository import Repository
from entrepot.client.retry import RetryPolicy
from entrepot.client.session import Session
from entrepot.client.settings import ClientSettings
from entrepot.client.transport import Answer, ConnectionBroken
from entrepot.content.protocols import ManifestBytes
from entrepot.errors import Denied, EntrepotError, NotFound, Unauthorized
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.server.movement.upstreams.errors import (
    UpstreamBusy,
    UpstreamMisbehaved,
    UpstreamRefused,
    UpstreamUnreachable,
)
from entrepot.server.movement.upstreams.model import Upstream

__all__ = ["Remote", "client_settings", "read_budget"]

T = TypeVar("T")
LONGEST_PAUSE_S: Final = 3600.0
"""How long an upstream that wants to be left alone is believed."""
QUESTIONS: Final = 8
"""Asked at a time: an upstream that hangs must not take all threads from the others."""
MOST_REMEMBERED: Final = 1_000


def client_settings(
    *, timeout_s: float, inside: bool, proxies: Mapping[str, str], no_proxy: str
) -> ClientSettings:
    """Nothing of the files that the account's own pulls read. Two tries: somebody waits for the answer."""
    return ClientSettings(
        credentials=CredentialStore.from_env({}),
        proxies=proxies,
        no_proxy=no_proxy,
        retry=RetryPolicy(attempts=2, base_s=0.2, max_delay_s=2.0, max_retry_after_s=2.0),
        connect_timeout_s=min(timeout_s, 10.0),
        read_timeout_s=timeout_s,
        connections=32,
        public_addresses_only=not inside,
    )


class Remote:
    """One for each upstream and process. `close` when the upstream changes or the process ends."""

    def __init__(
        self,
        upstream: Upstream,
        password: str,
        settings: ClientSettings,
        threads: Executor,
        *,
        pause_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pause_s`: how long a failure is remembered."""
        self.upstream = upstream
        credential = Credential(upstream.username, password) if upstream.username else None
        session = Session(upstream.endpoint, settings, heard=self._hear)
        self._registry = Registry(
            upstream.registry,
            settings=settings,
            credentials=OneCredential(credential),
            endpoint=upstream.endpoint,
            session=session,
        )
        self._threads = threads
        self._turns = asyncio.Semaphore(QUESTIONS)
        self._pause_s = pause_s
        self._clock = clock
        self._troubles: dict[str, tuple[float, EntrepotError]] = {}
        self.budget: dict[str, int] = {}
        self.state: dict[str, Any] = {}
        """As `ListedUpstream.state` has it, but for the budget."""

    async def find_manifest(self, repository: str, reference: str | Digest) -> Descriptor | None:
        """By HEAD, which is free where pulls are counted. `repository`: our name. Raises as `_ask`."""
        return await self._ask(repository, lambda: self._at(repository).find_manifest(reference))

    async def get_manifest(self, repository: str, reference: str | Digest) -> ManifestBytes | None:
        """Checked against the digest. None when there is none. Raises as `_ask`."""

        def get() -> ManifestBytes | None:
            try:
                return self._at(repository).get_manifest(reference)
            except NotFound:
                return None

        return await self._ask(repository, get)

    async def list_referrers(self, repository: str, subject: Digest) -> list[Descriptor]:
        """What refers to a manifest there. Raises as `_ask`."""
        return await self._ask(repository, lambda: self._at(repository).list_referrers(subject))

    async def find_blob(self, repository: str, digest: Digest) -> int | None:
        """Its size by HEAD. Raises as `_ask`."""
        return await self._ask(repository, lambda: self._at(repository).find_blob(digest))

    async def open_blob(
        self, repository: str, digest: Digest, *, offset: int = 0, size: int | None = None
    ) -> RemoteBlob | None:
        """From byte `offset` on, of a blob whose size is known when that is not 0. Raises as `_ask`."""

        def open_() -> RemoteBlob | None:
            at = self._at(repository)
            try:
                if size is None:
                    return at.open_unsized(digest)
                found = at.open_blob(Descriptor("application/octet-stream", digest, size), offset=offset)
            except NotFound:
                return None
            assert isinstance(found, RemoteBlob)
            return found

        return await self._ask(repository, open_)

    def trouble(self, repository: str) -> EntrepotError | None:
        """Why the upstream is not asked at the moment."""
        for key in ("", repository):
            found = self._troubles.get(key)
            if found is not None:
                if self._clock() < found[0]:
                    return found[1]
                del self._troubles[key]
        return None

    def translated(self, error: EntrepotError | ConnectionBroken) -> EntrepotError:
        """The client's error as our clients are told it."""
        who = f"upstream {self.upstream.registry} of {self.upstream.project}"
        said = error.reason if isinstance(error, ConnectionBroken) else error.message
        if isinstance(error, TooManyRequests):
            return UpstreamBusy(
                f"{who} asks to slow down: {said}",
                retry_after_s=error.retry_after_s,
                hint="wait, or give it an account that may pull more: entrepot admin upstream set --username",
            )
        if isinstance(error, (ConnectionBroken, RegistryUnreachable, RegistryFailed)):
            return UpstreamUnreachable(f"{who} can't be used now: {said}")
        if isinstance(error, (Denied, Unauthorized)):
            return UpstreamRefused(
                f"{who} refuses this, or has no such repository: {said}",
                hint="if it needs an account: entrepot admin upstream set --username",
            )
        if isinstance(error, DestinationForbidden):
            return UpstreamMisbehaved(
                f"{who} was not asked: {said}",
                hint="if it is to be inside of your own network: entrepot admin upstream set --inside",
            )
        return UpstreamMisbehaved(f"{who} did not answer as a registry does: {said}")

    def close(self) -> None:
        self._registry.session.cancel.cancel()
        self._registry.close()

    async def _ask(self, repository: str, ask: Callable[[], T]) -> T:
        """Raises UpstreamBusy, UpstreamUnreachable, UpstreamRefused, UpstreamMisbehaved."""
        async with self._turns:
            trouble = self.trouble(repository)
            if trouble is not None:
                raise trouble
            try:
                answer = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
            except (EntrepotError, ConnectionBroken) as error:
                told = self.translated(error)
                self._note_trouble(repository, told)
                raise told from error
        self.state["asked_at"] = time.time()
        self.state.pop("failure", None)
        return answer

    def _note_trouble(self, repository: str, error: EntrepotError) -> None:
        all_of_it = isinstance(error, (UpstreamBusy, UpstreamUnreachable))
        pause_s = self._pause_s
        if isinstance(error, UpstreamBusy) and error.retry_after_s:
            pause_s = min(max(pause_s, error.retry_after_s), LONGEST_PAUSE_S)
        if len(self._troubles) >= MOST_REMEMBERED:
            self._troubles.clear()
        if not isinstance(error, UpstreamMisbehaved):
            self._troubles["" if all_of_it else repository] = (self._clock() + pause_s, error)
        self.state.update(failed_at=time.time(), failure=error.message)

    def _at(self, repository: str) -> Repository:
        return self._registry.repository(self.upstream.name_there(repository))

    def _hear(self, answer: Answer) -> None:
        found = read_budget(answer.headers)
        if found:
            self.budget = found


def read_budget(headers: Mapping[str, str]) -> dict[str, int]:
    """`limit`, `remaining`, `window_s` of `ratelimit-limit: 100;w=21600`, as Docker Hub sends it. Pure."""
    found: dict[str, int] = {}
    for name in ("limit", "remaining"):
        number, _, rest = (headers.get(f"ratelimit-{name}") or "").partition(";")
        if number.strip().isdecimal():
            found[name] = int(number.strip()[:12])
            window = rest.strip().removeprefix("w=")
            if window.isdecimal():
                found["window_s"] = int(window[:9])
    return found
