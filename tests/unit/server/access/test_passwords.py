"""Passwords: verified with equal work, rehashed, refused when everybody would guess them."""

import pytest

from entrepot.server.access.decision.errors import InvalidPassword, TooManyAttempts
from entrepot.server.access.secrets.passwords import (
    PasswordPool,
    check_new_password,
    hash_password,
    verify_password,
)

pytestmark = pytest.mark.anyio
STORED = hash_password("correct horse battery")


def test_right_password_only() -> None:
    assert verify_password(STORED, "correct horse battery").ok
    assert not verify_password(STORED, "wrong horse battery").ok
    assert not verify_password(None, "a password nobody has").ok
    assert not verify_password("not a hash", "x").ok


def test_parameters_are_owasps_or_more() -> None:
    assert STORED.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_older_hash_is_renewed() -> None:
    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("correct horse battery")
    renewed = verify_password(old, "correct horse battery").new_hash
    assert renewed is not None
    assert verify_password(renewed, "correct horse battery").ok
    assert verify_password(STORED, "correct horse battery").new_hash is None


@pytest.mark.parametrize("bad", ["short", "password123", "Harbor12345", "x" * 2000, "alice-wonder"])
def test_guessable_password_is_refused(bad: str) -> None:
    with pytest.raises(InvalidPassword):
        check_new_password(bad, name="alice-wonder")


async def test_full_line_is_refused_at_once() -> None:
    pool = PasswordPool(max_waiting=0)
    with pytest.raises(TooManyAttempts):
        await pool.verify(STORED, "x")
    pool.close()


async def test_pool_verifies() -> None:
    pool = PasswordPool(workers=1)
    assert (await pool.verify(await pool.hash("correct horse battery"), "correct horse battery")).ok
    pool.close()
