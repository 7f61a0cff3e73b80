"""A sign-in source that hangs fills its own threads and nobody else's, and not for ever."""

import asyncio
import socket
import threading

import pytest

from entrepot.server.access.sign_in.sources.oidc import OidcIssuer, OidcUnavailable
from entrepot.server.access.sign_in.sources.outbound import (
    MOST_PER_SOURCE,
    MOST_TOGETHER,
    Deadline,
    Outbound,
    SourceBusy,
)

pytestmark = pytest.mark.anyio


async def test_one_that_hangs_is_refused_soon_and_others_go_on() -> None:
    outbound, end = Outbound(turn_wait_s=0.05, answer_wait_s=0.05), threading.Event()
    running: list[int] = []

    def hang() -> None:
        running.append(1)
        end.wait(60)

    try:
        asked = [outbound.ask("hung", hang) for _ in range(200)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(answer) for answer in answers} == {SourceBusy}
        assert len(running) == MOST_PER_SOURCE
        outbound._answer_wait_s = 60
        assert await outbound.ask("well", lambda: 7) == 7
        outbound._answer_wait_s = 0.05
        for number in range(MOST_TOGETHER):
            with pytest.raises(SourceBusy):
                await outbound.ask(f"also hung {number}", hang)
        assert len(running) <= MOST_TOGETHER
        end.set()
        outbound._answer_wait_s = outbound._turn_wait_s = 60
        while outbound._running:
            await asyncio.sleep(0.01)
        assert await outbound.ask("hung", lambda: 8) == 8
    finally:
        end.set()
        outbound.close()


async def test_errors_of_a_question_come_through() -> None:
    outbound = Outbound()
    with pytest.raises(ZeroDivisionError):
        await outbound.ask("well", lambda: 1 / 0)
    outbound.close()


def test_a_deadline_ends_who_speaks_on_and_on() -> None:
    """A byte now and then passes every timeout of a read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        mine = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        ended = threading.Event()

        def drip() -> None:
            while not ended.wait(0.01):
                try:
                    theirs.sendall(b".")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            mine.settimeout(30)
            with Deadline(0.2) as deadline:
                deadline.watch(mine)
                while mine.recv(1):
                    pass
        finally:
            ended.set()
            thread.join()
            mine.close()
            theirs.close()


async def test_an_issuer_on_this_machine_is_asked_where_its_documents_may_lead() -> None:
    """Nothing a well-known issuer's documents name may be anywhere but on public addresses."""
    issuer = OidcIssuer("https://gitlab.com")
    for place in ("https://127.0.0.1:1/keys", "https://0x7f.1:1/keys", "https://10.0.0.1:1/keys"):
        with pytest.raises(OidcUnavailable, match="not a public address"):
            issuer._ask("GET", place)
