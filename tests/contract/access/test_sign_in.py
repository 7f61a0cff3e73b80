"""Failed sign-ins count for all processes together, and are in the audit log without their passwords."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select

from entrepot.server.access.accounts_mode import AccountsControl
from entrepot.server.access.decision.errors import InvalidCredentials, TooManyAttempts
from entrepot.server.access.secrets.secret import new_secret
from entrepot.server.access.sign_in import attempts
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
