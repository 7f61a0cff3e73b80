"""Failed sign-ins count for all processes together, and are in the audit log without their passwords."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select

from entrepot.errors import Unavailable
from entrepot.server.access.accounts_mode import AccountsControl
from entrepot.server.access.decision.errors import InvalidCredentials, TooManyAttempts
from entrepot.server.access.directory.accounts import create_user
from entrepot.server.access.secrets.access_tokens import list_tokens
from entrepot.server.access.secrets.passwords import PasswordVerified, hash_password
from entrepot.server.access.secrets.refresh import mint_refresh_token
from entrepot.server.access.secrets.secret import new_secret
from entrepot.server.access.sign_in import attempts, password_sign_in
from entrepot.server.access.sign_in.failed_sign_ins import MOST_ROWS, FailedSignIns
from entrepot.server.db.tables import audit
from entrepot.server.db.tables.access import sign_in_attempt
from tests.contract.access.conftest import PASSWORD, ROOT

pytestmark = pytest.mark.anyio
Nodes = tuple[AccountsControl, AccountsControl]
HERE, THERE = "192.0.2.7", "198.51.100.9"


async def refused(node: AccountsControl, name: str, password: str, address: str = HERE) -> None:
    with pytest.raises(InvalidCredentials):
        await node.authenticator.basic(name, password, address=address)


async def fail_from_everywhere(node: AccountsControl, name: str, count: int) -> None:
    for number in range(count):
        await node.catalog.write(
            attempts.note_failure, name, f"203.0.113.{number}", node.catalog.clock.steady(), durable=False
        )


async def failures(node: AccountsControl) -> list[Any]:
    """Audit rows, once what was gathered has been written."""
    await node.authenticator.failures.close()
    query = select(audit).where(audit.c.action == "sign-in-failed").order_by(audit.c.seq)
    return list(await node.catalog.read(lambda c: c.execute(query).all()))


async def test_wrong_passwords_count_for_every_process(nodes: Nodes) -> None:
    one, other = nodes
    for number in range(4):
        await refused(nodes[number % 2], "alice", f"wrong {number}")
    for _ in range(10):  # noted at once, so that a slow machine can't wait the first pauses out
        await one.catalog.write(attempts.note_failure, "alice", HERE, one.catalog.clock.steady())
    for node in nodes:
        with pytest.raises(TooManyAttempts) as caught:
            await node.authenticator.basic("alice", PASSWORD, address=HERE)
        assert 200 < caught.value.retry_after_s <= 300
    await other.authenticator.basic("alice", PASSWORD, address=THERE)
    await one.authenticator.basic("bob", PASSWORD, address=HERE)


async def test_a_sign_in_forgets_the_failures_before_it(nodes: Nodes) -> None:
    one, other = nodes
    for number in range(4):
        await refused(one, "alice", f"wrong {number}")
    await other.authenticator.basic("alice", PASSWORD, address=HERE)
    await refused(one, "alice", "wrong again")
    await one.authenticator.basic("alice", PASSWORD, address=HERE)


async def test_an_attack_does_not_hold_back_who_is_known_at_an_address(nodes: Nodes) -> None:
    one, other = nodes
    await one.authenticator.basic("alice", PASSWORD, address=HERE)
    await fail_from_everywhere(other, "alice", 40)
    await other.authenticator.basic("alice", PASSWORD, address=HERE)
    with pytest.raises(TooManyAttempts) as caught:
        await other.authenticator.basic("alice", PASSWORD, address=THERE)
    assert caught.value.retry_after_s <= 5.0
    assert await one.catalog.write(lambda c: attempts.forget(c, ROOT, "alice", now=1)) == 40
    await other.authenticator.basic("alice", PASSWORD, address=THERE)


async def test_a_program_with_an_old_password_does_not_hold_back_its_owner(nodes: Nodes) -> None:
    for _ in range(20):
        await refused(nodes[0], "alice", "the password before")
        await refused(nodes[0], "nobody", "anything")
    await nodes[0].authenticator.basic("alice", PASSWORD, address=HERE)


async def test_tries_at_the_same_time_are_not_more_than_one_after_another(nodes: Nodes) -> None:
    """Sixty guesses sent at once are looked at a few at a time, and the pause comes between them."""
    guesses = (nodes[0].authenticator.basic("alice", f"guess {n}", address=HERE) for n in range(60))
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    looked_at = sum(isinstance(answer, InvalidCredentials) for answer in answers)
    assert 5 <= looked_at <= 15
    assert looked_at + sum(isinstance(answer, TooManyAttempts) for answer in answers) == 60


async def test_failures_are_audited_with_who_where_and_how_but_no_password(nodes: Nodes) -> None:
    node = nodes[0]
    for number in range(7):
        with pytest.raises((InvalidCredentials, TooManyAttempts)):
            await node.authenticator.basic("Alice", f"hunter{number}", address=HERE)
    await refused(node, "my secret pass phrase", "alice", address=THERE)
    await refused(node, "hunter2.secret", "alice", address=THERE)
    await refused(node, "bob", str(new_secret("pat").text), address=THERE)
    rows = await failures(node)
    counted: Counter[tuple[str, ...]] = Counter()
    for row in rows:  # on a slow machine what belongs to one minute may come in two rows
        detail = json.loads(row.detail)
        key = (row.principal, row.address, detail["with"], detail.get("source", ""))
        counted[*key, "failed"] += detail["failed"]
        counted[*key, "held back"] += detail.get("held_back", 0)
    alice = [counted.pop(("alice", HERE, "password", "local", what)) for what in ("failed", "held back")]
    assert sum(alice) == 7
    assert alice[0] >= 5
    assert +counted == {
        ("(unknown)", THERE, "password", "local", "failed"): 2,
        ("bob", THERE, "token", "", "failed"): 1,
    }
    assert "hunter" not in repr(rows)
    assert "secret" not in repr(rows)
    assert {row.principal_kind for row in rows} == {"anonymous"}


async def test_a_flood_writes_few_rows(nodes: Nodes) -> None:
    node = nodes[0]
    for number in range(5000):
        node.authenticator.failures.note("alice", f"10.0.{number // 250}.{number % 250}", "password")
    rows = await failures(node)
    assert len(rows) == MOST_ROWS
    assert sum(json.loads(row.detail)["failed"] for row in rows) == 5000
    assert [row.address for row in rows].count("(others)") == 1
    flooded = FailedSignIns(node.catalog)
    for _ in range(8):  # one worker, some minutes on
        for number in range(MOST_ROWS):
            flooded.note("alice", f"10.1.0.{number}", "password")
        await flooded.close()
    assert len(await failures(node)) <= 600 + 8


async def test_what_counts_no_more_is_removed(nodes: Nodes) -> None:
    node = nodes[0]
    await fail_from_everywhere(node, "alice", 3)
    later = node.catalog.clock.steady() + 3600 * 1_000_000
    await node.catalog.write(attempts.note_success, "bob", HERE, later)
    await node.catalog.write(attempts.sweep, later)
    left = await node.catalog.read(
        lambda c: c.execute(select(func.count()).select_from(sign_in_attempt)).scalar_one()
    )
    assert left == 1


def stop_the_clock(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause ends: what is looked at is what may be looked at at once, however slow the machine is."""
    now = nodes[0].catalog.clock.steady()
    monkeypatch.setattr(password_sign_in, "_LONGEST_WAIT_S", 0.2)
    for node in nodes:
        monkeypatch.setattr(node.catalog.clock, "steady", lambda: now)


def count_hashes(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords a hash is computed of, from now on."""
    seen: list[str] = []
    for node in nodes:
        plain = node.passwords.verify

        async def counted(stored: str | None, password: str, plain: Any = plain) -> Any:
            seen.append(password)
            return await plain(stored, password)

        monkeypatch.setattr(node.passwords, "verify", counted)
    return seen


@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_no_more_passwords_are_looked_at_than_may_be_however_many_come_at_once(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stop_the_clock(nodes, monkeypatch)
    seen = count_hashes(nodes, monkeypatch)
    guesses = (nodes[n % 2].authenticator.basic(name, f"guess {n}", address=HERE) for n in range(64))
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    assert len(seen) == 5
    assert Counter(type(answer) for answer in answers) == {InvalidCredentials: 5, TooManyAttempts: 59}


async def test_a_catalog_that_can_not_be_written_lets_nobody_guess(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process counts for itself until it can be; who has the right password comes in."""
    stop_the_clock(nodes, monkeypatch)
    node, seen = nodes[0], count_hashes(nodes, monkeypatch)

    async def refuse(*_args: Any, **_more: Any) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(node.catalog, "write", refuse)
    guesses = (node.authenticator.basic("alice", f"guess {n}", address=HERE) for n in range(64))
    await asyncio.gather(*guesses, return_exceptions=True)
    assert len(seen) == 5
    for _ in range(2):
        assert (await node.authenticator.basic("bob", PASSWORD, address=HERE)).name == "bob"
    monkeypatch.undo()


async def test_names_tried_at_once_from_one_address_count_for_it(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_the_clock(nodes, monkeypatch)
    seen = count_hashes(nodes, monkeypatch)
    guesses = (nodes[n % 2].authenticator.basic(f"user{n}", "guess", address=HERE) for n in range(64))
    await asyncio.gather(*guesses, return_exceptions=True)
    assert len(seen) == 30


async def test_who_goes_away_while_their_password_is_looked_at_is_counted(nodes: Nodes) -> None:
    node = nodes[0]
    for number in range(5):
        guess = asyncio.create_task(node.authenticator.basic("alice", f"guess {number}", address=HERE))
        while not guess.done() and not node.authenticator._passwords._checks:
            await asyncio.sleep(0)
        guess.cancel()
        await asyncio.gather(guess, *node.authenticator._passwords._checks.values(), return_exceptions=True)
    counts = await node.catalog.read(
        lambda c: c.execute(select(sign_in_attempt.c.failures).where(sign_in_attempt.c.user == "alice")).all()
    )
    assert {row.failures for row in counts} == {5}


async def test_right_passwords_at_once_are_all_let_in(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster starts: every machine pulls with the same account, over every process, from one address."""
    seen = count_hashes(nodes, monkeypatch)
    tries = (nodes[n % 2].authenticator.basic("alice", PASSWORD, address=HERE) for n in range(64))
    assert {who.name for who in await asyncio.gather(*tries)} == {"alice"}
    assert 1 <= len(seen) <= 2


async def test_more_people_at_one_address_than_may_fail_there_are_all_let_in(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, hashed = [f"person{n}" for n in range(40)], hash_password(PASSWORD)

    async def right(_stored: str | None, _password: str) -> PasswordVerified:
        return PasswordVerified(ok=True)

    for node in nodes:  # how long a hash takes on this machine is not what this is about
        monkeypatch.setattr(node.passwords, "verify", right)

    def make(connection: Any) -> None:
        for name in names:
            create_user(connection, ROOT, now=1, name=name, password_hash=hashed)

    await nodes[0].catalog.write(make)
    tries = (nodes[n % 2].authenticator.basic(name, PASSWORD, address=HERE) for n, name in enumerate(names))
    assert [who.name for who in await asyncio.gather(*tries)] == names
    counts = select(sign_in_attempt.c.failures)
    assert set(await nodes[0].catalog.read(lambda c: c.execute(counts).scalars().all())) == {0}


async def test_a_right_password_leaves_the_address_as_it_was(nodes: Nodes) -> None:
    node, now = nodes[0], nodes[0].catalog.clock.steady()
    before = now - 400 * 1_000_000  # longer ago than any pause
    for _ in range(40):
        await node.catalog.write(attempts.note_failure, None, HERE, before)
    await node.authenticator.basic("alice", PASSWORD, address=HERE)
    row = await node.catalog.read(
        lambda c: c.execute(
            select(sign_in_attempt).where(sign_in_attempt.c.user == "", sign_in_attempt.c.address == HERE)
        ).one()
    )
    assert (row.failures, row.failed_at) == (40, before)
    await node.authenticator.basic("bob", PASSWORD, address=HERE)


async def test_names_that_no_column_takes_are_refused_and_lose_nothing(nodes: Nodes) -> None:
    """PostgreSQL has no text with a NUL; one in the audit of failures would take the others with it."""
    node = nodes[0]
    for name in ("\0", "acme+\0", "\0+ci", "\ud800"):
        with pytest.raises(InvalidCredentials):
            await node.authenticator.workload("eyJ.e30.x", robot=name, address=THERE)
        with pytest.raises(InvalidCredentials):
            await node.authenticator.basic(name, "x", address=THERE)
    await refused(node, "alice", "wrong")
    assert "alice" in [row.principal for row in await failures(node)]
    who = await node.authenticator.basic("alice", PASSWORD, address=HERE)
    await node.catalog.write(mint_refresh_token, who, "doc\0ker\n", node.catalog.clock.now())
    kept = await node.catalog.read(lambda c: list_tokens(c, owner_id=who.id, kinds=("ref",)))
    assert [token.name for token in kept] == ["docker"]


async def test_wrong_passwords_at_an_address_do_not_hold_back_its_jobs_as_if_they_were_one_user(
    nodes: Nodes,
) -> None:
    for _ in range(10):
        await nodes[0].catalog.write(attempts.note_failure, None, HERE, nodes[0].catalog.clock.steady())
    with pytest.raises(InvalidCredentials):
        await nodes[0].authenticator.workload("eyJ.e30.x", address=HERE)
