"""Password sources: no try tells by its work or its waits who exists; a changed entry ends what it made."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from entrepot.errors import Unavailable
from entrepot.server.access.decision.errors import InvalidCredentials, NotKnownNow, TooManyAttempts
from entrepot.server.access.decision.model import Action, Principal
from entrepot.server.access.decision.scopes import parse_scopes
from entrepot.server.access.directory.accounts import get_account
from entrepot.server.access.secrets.access_tokens import mint
from entrepot.server.access.secrets.refresh import mint_refresh_token
from entrepot.server.access.secrets.sessions import create_session
from entrepot.server.access.sign_in import password_sign_in
from entrepot.server.access.sign_in.source_table import (
    LiveSources,
    add_source,
    remove_source,
    set_source_enabled,
)
from entrepot.server.access.sign_in.sources.base import Person
from entrepot.server.access.sign_in.sources.htpasswd import HtpasswdFile, parse_htpasswd
from entrepot.server.access.sign_in.sources.ldap import LdapDirectory, LdapSettings, _WrongPassword
from entrepot.server.access.sign_in.sources.outbound import Outbound
from tests.unit.server.access.conftest import PASSWORD, ROOT, Accounts

pytestmark = pytest.mark.anyio
HERE = "192.0.2.7"


def line(name: str, password: str, cost: int = 4) -> str:
    return f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=cost)).decode()}\n"


class Directory:
    """A source that knows `lena`, and counts what it is asked."""

    name = "corp"

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.away = False

    async def sign_in(self, name: str, password: str) -> Person | None:
        await self._ask(name)
        return Person(subject=name, name=name) if (name, password) == ("lena", "lena's password") else None

    async def pretend(self) -> None:
        await self._ask(None)

    async def _ask(self, name: str | None) -> None:
        self.asked.append(name)
        if self.away:
            raise Unavailable("away")

    def vouches_for(self, name: str) -> str | None:
        return ""

    async def goes_on(self, name: str, entry: str) -> bool:
        if self.away:
            raise Unavailable("away")
        return True


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """bcrypt's rounds, each time it is asked."""
    counted: list[int] = []
    plain = bcrypt.checkpw

    def check(password: bytes, digest: bytes) -> bool:
        counted.append(2 ** int(digest[4:6]))
        return plain(password, digest)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    return counted


@pytest.fixture
async def directory(accounts: Accounts, tmp_path: Path) -> Directory:
    """alice is local, `+ci` a robot; the file knows hanna, harry, expensive; the directory lena."""
    await accounts.user("alice")
    await accounts.robot("+ci")
    file = tmp_path / "htpasswd"
    file.write_text(line("hanna", "hanna's password") + line("harry", "x") + line("expensive", "x", 7))
    corp = Directory()
    found = HtpasswdFile("file", file, accounts.control.passwords.run)
    accounts.control._sources = LiveSources((found, corp))
    for name in ("hanna", "lena"):
        await accounts.control.authenticator.basic(name, f"{name}'s password", address="198.51.100.1")
    return corp


NAMES = ("alice", "hanna", "harry", "expensive", "lena", "nobody", "+ci", "a+b", "not a name", "x" * 300)


@pytest.mark.parametrize("away", [False, True], ids=["", "away"])
async def test_a_wrong_password_costs_the_same_whoever_exists(
    accounts: Accounts,
    directory: Directory,
    rounds: list[int],
    monkeypatch: pytest.MonkeyPatch,
    away: bool,
) -> None:
    directory.away = away
    hashes: list[str] = []
    plain = accounts.control.passwords.verify

    async def verify(stored: str | None, password: str) -> Any:
        hashes.append(password)
        return await plain(stored, password)

    monkeypatch.setattr(accounts.control.passwords, "verify", verify)
    work = {}
    for number, name in enumerate(NAMES):
        for counter in (hashes, rounds, directory.asked):
            counter.clear()
        with pytest.raises(NotKnownNow if away else InvalidCredentials):
            await accounts.control.authenticator.basic(name, f"wrong {number}", address=f"203.0.113.{number}")
        work[name] = (len(hashes), sum(rounds), len(directory.asked))
    assert set(work.values()) == {(1, 2**7, 1)}, work


async def test_a_password_goes_only_to_the_source_its_user_is_from(
    accounts: Accounts, directory: Directory
) -> None:
    directory.asked.clear()
    for name in NAMES:
        with pytest.raises(InvalidCredentials):
            await accounts.control.authenticator.basic(name, "wrong", address=None)
    assert [name for name in directory.asked if name is not None] == ["harry", "expensive", "lena", "nobody"]


async def test_names_are_held_back_alike_whoever_exists(
    accounts: Accounts, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    del directory
    now = accounts.catalog.clock.steady()
    monkeypatch.setattr(accounts.catalog.clock, "steady", lambda: now)
    monkeypatch.setattr(password_sign_in, "_LONGEST_WAIT_S", 0.2)
    told = {}
    for number, name in enumerate(NAMES[:8]):
        answers = []
        for password in ["the same"] * 6 + [f"guess {n}" for n in range(5)]:
            try:
                await accounts.control.authenticator.basic(name, password, address=f"203.0.113.{number}")
            except (InvalidCredentials, TooManyAttempts) as error:
                answers.append(type(error).__name__)
        told[name] = tuple(answers)
    assert set(told.values()) == {("InvalidCredentials",) * 10 + ("TooManyAttempts",)}, told


async def test_local_accounts_sign_in_while_a_directory_is_away(
    accounts: Accounts, directory: Directory
) -> None:
    directory.away = True
    assert (await accounts.control.authenticator.basic("alice", PASSWORD, address=HERE)).name == "alice"
    for _ in range(8):  # a program with a right password during an outage is no guesser
        with pytest.raises(NotKnownNow):
            await accounts.control.authenticator.basic("new", "right but not known now", address=HERE)


async def test_a_missing_name_and_nobody_ask_a_directory_as_many_questions_as_a_wrong_password() -> None:
    class Asked(LdapDirectory):
        def __init__(self) -> None:
            settings = LdapSettings(url="ldap://localhost", user_base="ou=people", group_base="ou=groups")
            super().__init__("corp", settings, "secret", Outbound())
            self.questions: list[str] = []

        def _connect(self, dn: str, password: str, deadline: Any) -> Any:
            del password, deadline
            self.questions.append("bind" if dn else "service bind")
            if dn:
                raise _WrongPassword
            return _Nothing()

        def _find(self, connection: Any, name: str) -> dict[str, Any] | None:
            del connection
            self.questions.append("search")
            return {"dn": "uid=lena,ou=people", "attributes": {}} if name == "lena" else None

    asked = Asked()
    for question in (asked.sign_in("lena", "wrong"), asked.sign_in("nobody", "wrong"), asked.pretend()):
        await question
    assert asked.questions == ["service bind", "search", "bind"] * 3


class _Nothing:
    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "digest", ["$2b$04$short", "$2b$31$" + "a" * 53, "$2b$04$" + "ä" * 53, "$apr1$x", ""]
)
def test_lines_that_would_take_another_time_are_no_users(digest: str) -> None:
    assert parse_htpasswd(f"hanna:{digest}\n") == ({}, ["hanna"])


# An entry that was changed.


@pytest.fixture
async def file(accounts: Accounts, tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(line("hanna", "first password") + line("otto", "otto's password"))
    await accounts.catalog.write(
        lambda c: add_source(
            c,
            ROOT,
            accounts.control.seal,
            now=accounts.now,
            name="file",
            kind="htpasswd",
            settings={"path": str(path)},
        )
    )
    await accounts.control.reload()
    return path


async def made_by(accounts: Accounts, who: Principal) -> tuple[str, str, str]:
    """A bearer token, a refresh token and a session."""
    bearer = (await accounts.control.issue_token(who, parse_scopes(["repository:acme/app:pull"]))).text
    refresh = await accounts.catalog.write(mint_refresh_token, who, "docker", accounts.now)
    session = await accounts.catalog.write(create_session, who, None, "", accounts.now)
    return bearer, str(refresh.text), str(session)


async def hold(accounts: Accounts, made: tuple[str, str, str]) -> list[bool]:
    """Which of them still do."""
    bearer, refresh, session = made
    who = await accounts.control.authenticate(f"Bearer {bearer}")
    good = [(await accounts.control.decide(who, Action.PING)).allowed]
    for text, kind in ((refresh, "ref"), (session, "ses")):
        try:
            who = await accounts.control.authenticator.secret(text, kinds=(kind,), address=None)
        except InvalidCredentials:
            good.append(False)
        else:
            good.append((await accounts.control.decide(who, Action.MANAGE_SELF)).allowed)
            # What a refresh token is turned into is tied to the entry as well.
            assert who.entry
    return good


async def test_a_changed_line_ends_what_was_made_by_signing_in_with_it(
    accounts: Accounts, file: Path
) -> None:
    sign_in = accounts.control.authenticator.basic
    hanna = await made_by(accounts, await sign_in("hanna", "first password", address=None))
    otto = await made_by(accounts, await sign_in("otto", "otto's password", address=None))
    assert await hold(accounts, hanna) == await hold(accounts, otto) == [True] * 3
    pat = await accounts.catalog.write(
        lambda c: mint(
            c,
            ROOT,
            now=accounts.now,
            kind="pat",
            owner_id=get_account(c, "hanna").id,
            owner="hanna",
        )
    )
    kept = next(text for text in file.read_text().splitlines() if text.startswith("otto"))
    file.write_text(line("hanna", "second password") + kept + "\n")
    assert await hold(accounts, hanna) == [False] * 3
    assert await hold(accounts, otto) == [True] * 3
    again = await made_by(accounts, await sign_in("hanna", "second password", address=None))
    assert await hold(accounts, again) == [True] * 3
    basic = "Basic " + base64.b64encode(f"hanna:{pat.text}".encode()).decode()
    assert (await accounts.control.authenticate(basic)).name == "hanna"  # as after any change of a password
    file.write_text(kept + "\n")
    assert await hold(accounts, again) == [False] * 3
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticate(basic)


async def test_the_file_is_read_when_it_changed_and_not_for_each_request(
    accounts: Accounts, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    old = file.stat().st_mtime_ns - 3_600_000_000_000
    os.utime(file, ns=(old, old))
    who = await accounts.control.authenticator.basic("hanna", "first password", address=None)
    read: list[Path] = []
    plain = Path.read_text

    def counted(path: Path, *args: Any, **more: Any) -> str:
        read.append(path)
        return plain(path, *args, **more)

    monkeypatch.setattr(Path, "read_text", counted)
    for _ in range(20):
        assert (await accounts.control.decide(who, Action.PING)).allowed
    await accounts.control.reload()  # as each worker does every minute
    assert (await accounts.control.decide(who, Action.PING)).allowed
    assert read == []
    file.write_text(line("otto", "x"))
    assert not (await accounts.control.decide(who, Action.PING)).allowed
    assert file in read


@pytest.mark.parametrize("how", ["disable", "remove"])
async def test_without_its_source_nobody_stays_signed_in(accounts: Accounts, file: Path, how: str) -> None:
    del file
    made = await made_by(
        accounts, await accounts.control.authenticator.basic("hanna", "first password", address=None)
    )
    if how == "disable":
        await accounts.catalog.write(
            lambda c: set_source_enabled(c, ROOT, "file", enabled=False, now=accounts.now)
        )
    else:
        await accounts.catalog.write(lambda c: remove_source(c, ROOT, "file", now=accounts.now))
    assert await hold(accounts, made) == [False] * 3  # before anybody has read the sources again
    await accounts.control.reload()
    assert await hold(accounts, made) == [False] * 3


async def test_a_password_that_was_checked_against_the_line_before_is_not_remembered_for_the_new_one(
    accounts: Accounts, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file changes between the check and what is noted about it."""
    pool = accounts.control.passwords
    plain = pool.run

    async def run(function: Any, *args: Any) -> Any:
        done = await plain(function, *args)
        if function.__name__ == "_matches":
            file.write_text(line("hanna", "second password"))
        return done

    source = accounts.control.sources.passwords[0]
    monkeypatch.setattr(source, "_run", run)
    who = await accounts.control.authenticator.basic("hanna", "first password", address=None)
    monkeypatch.undo()
    assert not (await accounts.control.decide(who, Action.PING)).allowed
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticator.basic("hanna", "first password", address=None)


async def test_who_is_signed_in_goes_on_while_a_directory_is_away(
    accounts: Accounts, directory: Directory
) -> None:
    who = await accounts.control.authenticator.basic("lena", "lena's password", address=HERE)
    refresh = await accounts.catalog.write(mint_refresh_token, who, "docker", accounts.now)
    directory.away = True
    again = await accounts.control.authenticator.secret(str(refresh.text), kinds=("ref",), address=HERE)
    assert again.name == "lena"
