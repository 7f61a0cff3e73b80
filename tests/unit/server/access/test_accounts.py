"""Accounts mode over a real catalog: sign-in, tokens, permits, revocation (A2), mounts (A5)."""

import base64
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bcrypt
import pytest
from sqlalchemy import select

from entrepot.errors import Conflict
from entrepot.server.access.decision.errors import (
    AlreadyExists,
    InvalidCredentials,
    InvalidToken,
    PermitRefused,
    TooManyAttempts,
    VersionMismatch,
)
from entrepot.server.access.decision.model import ANONYMOUS, Action, Principal, Ruling, SystemRole
from entrepot.server.access.decision.scopes import parse_scopes
from entrepot.server.access.directory.accounts import (
    change_account,
    create_user,
    delete_account,
    get_account,
    set_password_hash,
)
from entrepot.server.access.directory.first_start import finish_setup, prepare_accounts
from entrepot.server.access.directory.grants import remove_grant
from entrepot.server.access.directory.projects import change_project, get_project
from entrepot.server.access.directory.teams import (
    add_member,
    create_team,
    follow_groups,
    get_team,
    list_members,
)
from entrepot.server.access.secrets.access_tokens import (
    get_token,
    list_tokens,
    mint,
    revoke,
    rotate_robot_secret,
)
from entrepot.server.access.secrets.signing import Algorithm
from entrepot.server.access.secrets.signing_keys import RELOAD_S, load_keys, rotate_signing_key
from entrepot.server.access.sign_in import attempts
from entrepot.server.access.sign_in.source_table import add_source
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables import audit, repo
from entrepot.server.db.tables.access import access_token, principal, signing_key
from entrepot.server.pages.kit.forms import PageForm
from tests.unit.server.access.conftest import PASSWORD, PASSWORD_HASH, ROOT, Accounts

pytestmark = pytest.mark.anyio
PULL = "repository:acme/app:pull"
PUSH = "repository:acme/app:pull,push"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def token_for(accounts: Accounts, who: Principal, scope: str = PULL) -> str:
    return (await accounts.control.issue_token(who, parse_scopes([scope]))).text


async def bearer(accounts: Accounts, text: str) -> Principal:
    return await accounts.control.authenticate(f"Bearer {text}")


def change(action: str, repository: str, tag: str | None = None) -> Any:
    return SimpleNamespace(action=action, repository=repository, tag=tag)


async def make_repository(accounts: Accounts, name: str, project_id: int) -> int:
    statement = (
        repo.insert().values(project_id=project_id, name=name, created_at=accounts.now).returning(repo.c.id)
    )
    return await accounts.catalog.write(lambda c: c.execute(statement).scalar_one())


async def test_password_signs_in_and_wrong_ones_do_not(accounts: Accounts) -> None:
    await accounts.user("alice")
    who = await accounts.control.authenticate(basic("Alice", PASSWORD))
    assert (who.name, who.kind) == ("alice", "user")
    for name, password in (("alice", "wrong"), ("nobody", PASSWORD), ("alice", "")):
        with pytest.raises(InvalidCredentials) as caught:
            await accounts.control.authenticate(basic(name, password))
        assert caught.value.message == "the user name or password is wrong"


async def test_sign_in_backs_off(accounts: Accounts) -> None:
    await accounts.user("alice")
    for number in range(5):
        with pytest.raises(InvalidCredentials):
            await accounts.control.authenticate(basic("alice", f"wrong {number}"), address="10.0.0.1")
    for _ in range(5):  # so that the pause is longer than a busy machine takes for a password
        now = accounts.catalog.clock.steady()
        await accounts.catalog.write(attempts.note_failure, "alice", "10.0.0.1", now)
    with pytest.raises(TooManyAttempts):
        await accounts.control.authenticate(basic("alice", PASSWORD), address="10.0.0.1")
    assert await accounts.control.authenticate(basic("alice", PASSWORD), address="10.0.0.2")


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"nocolon").decode(), "Digest x"]
)
async def test_unreadable_header_is_refused(accounts: Accounts, header: str) -> None:
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticate(header)


async def test_first_admin_sets_a_password_once(accounts: Accounts) -> None:
    who = await accounts.control.authenticator.secret(accounts.setup, kinds=("set",), address=None)
    await accounts.catalog.write(finish_setup, who, PASSWORD_HASH, None, accounts.now)
    admin = await accounts.control.authenticate(basic("admin", PASSWORD))
    assert (await accounts.control.decide(admin, Action.MANAGE_SYSTEM)).rule == "system:admin"
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticator.secret(accounts.setup, kinds=("set",), address=None)
    again = await accounts.catalog.write(prepare_accounts, accounts.control.seal, "entrepot", accounts.now)
    assert again is None


async def test_bearer_token_carries_what_the_user_has(accounts: Accounts) -> None:
    alice, project = await accounts.user("alice"), await accounts.project("acme")
    await accounts.grant(alice, project, "puller")
    who = await bearer(
        accounts,
        await token_for(accounts, await accounts.control.authenticate(basic("alice", PASSWORD)), PUSH),
    )
    assert (await accounts.control.decide(who, Action.PULL, "acme/app")).allowed
    refused = await accounts.control.decide(who, Action.PUSH, "acme/app")
    assert (refused.answer, refused.challenge_error) == (Ruling.CHALLENGE, "insufficient_scope")
    assert "push" in refused.reason


async def test_anonymous_token_pulls_public_only(accounts: Accounts) -> None:
    await accounts.project("open", "public")
    await accounts.project("closed")
    for project, allowed in (("open", True), ("closed", False)):
        text = await token_for(accounts, ANONYMOUS, f"repository:{project}/app:pull")
        decision = await accounts.control.decide(await bearer(accounts, text), Action.PULL, f"{project}/app")
        assert decision.allowed is allowed
    assert (await accounts.control.decide(ANONYMOUS, Action.PING)).answer is Ruling.CHALLENGE
    assert (await accounts.control.decide(await bearer(accounts, text), Action.PING)).allowed


async def test_a_challenge_stays_one_whatever_the_host_is_called(accounts: Accounts) -> None:
    told = accounts.control.challenge(base_url='http://a",realm="http://evil.example')
    assert told == (
        r'Bearer realm="http://a\",realm=\"http://evil.example/token",service="a\",realm=\"http://evil.example"'
    )


# A2: a token was minted, then the world changed.


async def test_revoked_at_once_when_the_user_is_disabled_or_gone(accounts: Accounts) -> None:
    alice, project = await accounts.user("alice"), await accounts.project("acme")
    await accounts.grant(alice, project, "owner")
    who = await accounts.control.authenticate(basic("alice", PASSWORD))
    text = await token_for(accounts, who)
    await accounts.catalog.write(
        lambda c: change_account(c, ROOT, get_account(c, "alice"), {"enabled": False}, now=accounts.now)
    )
    for action, where in ((Action.PULL, "acme/app"), (Action.PING, None)):
        decision = await accounts.control.decide(await bearer(accounts, text), action, where)
        assert (decision.answer, decision.challenge_error) == (Ruling.CHALLENGE, "invalid_token")
    await accounts.catalog.write(lambda c: delete_account(c, ROOT, get_account(c, "alice"), now=accounts.now))
    assert not (await accounts.control.decide(await bearer(accounts, text), Action.PULL, "acme/app")).allowed
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticate(basic("alice", PASSWORD))


async def test_the_audit_log_has_the_end_of_an_account_as_a_date(accounts: Accounts) -> None:
    await accounts.user("alice")
    ends = {"expires_at": 1_798_848_000_000_000}
    await accounts.catalog.write(
        lambda c: change_account(c, ROOT, get_account(c, "alice"), ends, now=accounts.now)
    )
    said = await accounts.catalog.read(
        lambda c: c.execute(select(audit.c.old, audit.c.new).where(audit.c.action == "change-user")).one()
    )
    assert tuple(said) == ("expires_at=None", "expires_at=2027-01-02T00:00Z")


async def test_a_name_keeps_its_case_where_a_page_makes_a_sentence_of_it(accounts: Accounts) -> None:
    await accounts.user("alice")
    form = PageForm()
    with pytest.raises(AlreadyExists) as caught:
        await accounts.user("alice")
    form.blame(caught.value, "name")
    assert form.errors == {"name": "User alice exists already."}


async def test_revoked_at_once_when_the_password_changes(accounts: Accounts) -> None:
    await accounts.user("alice")
    who = await accounts.control.authenticate(basic("alice", PASSWORD))
    text = await token_for(accounts, who)
    await accounts.catalog.write(
        lambda c: set_password_hash(c, ROOT, get_account(c, "alice"), PASSWORD_HASH + "x", now=accounts.now)
    )
    assert (
        await accounts.control.decide(await bearer(accounts, text), Action.PING)
    ).rule == "principal-epoch"
    with pytest.raises(InvalidCredentials):  # although the old password was remembered as right
        await accounts.control.authenticate(basic("alice", PASSWORD))


async def test_revoked_at_once_when_a_grant_or_team_is_taken_away(accounts: Accounts) -> None:
    alice, project = await accounts.user("alice"), await accounts.project("acme")
    grant = await accounts.grant(alice, project, "puller")
    who = await bearer(
        accounts, await token_for(accounts, await accounts.control.authenticate(basic("alice", PASSWORD)))
    )
    await accounts.catalog.write(lambda c: remove_grant(c, ROOT, grant, now=accounts.now))
    assert not (await accounts.control.decide(who, Action.PULL, "acme/app")).allowed


async def test_revoked_at_once_with_the_token_it_was_made_from(accounts: Accounts) -> None:
    robot, secret = await accounts.robot("+ci")
    project = await accounts.project("acme")
    await accounts.grant(robot, project, "puller")
    who = await accounts.control.authenticate(basic("+ci", secret.text))
    text = await token_for(accounts, who)
    assert (await accounts.control.decide(await bearer(accounts, text), Action.PULL, "acme/app")).allowed
    await accounts.catalog.write(lambda c: revoke(c, ROOT, get_token(c, secret.public_id), now=accounts.now))
    assert (await accounts.control.decide(await bearer(accounts, text), Action.PING)).rule == "token-revoked"
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticate(basic("+ci", secret.text))


async def test_repository_made_again_refuses_the_old_token(accounts: Accounts) -> None:
    alice, project = await accounts.user("alice"), await accounts.project("acme")
    await accounts.grant(alice, project, "owner")
    first = await make_repository(accounts, "acme/app", project)
    text = await token_for(accounts, await accounts.control.authenticate(basic("alice", PASSWORD)))
    await accounts.catalog.write(
        lambda c: c.execute(repo.update().where(repo.c.id == first).values(deleted_at=1))
    )
    await make_repository(accounts, "acme/app", project)
    decision = await accounts.control.decide(await bearer(accounts, text), Action.PULL, "acme/app")
    assert (decision.rule, decision.challenge_error) == ("token-generation", "invalid_token")


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_no_token_fails_while_keys_rotate(accounts: Accounts, algorithm: Algorithm) -> None:
    """Three workers read the keys at other times; each reads what any has signed within a token's life."""
    control, began = accounts.control, accounts.now
    names = {"issuer": "entrepot", "audience": "entrepot"}

    async def rotate(at_s: int) -> None:
        now = began + at_s * SECOND
        await accounts.catalog.write(
            lambda c: rotate_signing_key(
                c, ROOT, control.seal, issuer="entrepot", now=now, algorithm=algorithm
            )
        )

    rings = [await accounts.catalog.read(load_keys, control.seal)] * 3
    in_flight: deque[tuple[int, str]] = deque()
    used = set()
    for second in range(0, 900, 3):
        if second in {60, 450}:
            await rotate(second)
        for worker in range(3):
            if second % RELOAD_S == worker * 18:
                rings[worker] = await accounts.catalog.read(load_keys, control.seal)
        now = began / SECOND + second
        signer = rings[second % len(rings)]
        used.add((signer.signer(now).kid, signer.signer(now).algorithm))
        claims = {"sub": "a", "jti": "1", "iss": "entrepot", "aud": "entrepot"}
        issued = {**claims, "iat": int(now), "nbf": int(now), "exp": int(now) + 300}
        in_flight.append((second, signer.sign(issued, now=now)))
        while in_flight[0][0] <= second - 299:
            in_flight.popleft()
        for _, token in (in_flight[0], in_flight[len(in_flight) // 2], in_flight[-1]):
            for ring in rings:
                ring.verify(token, now=now, **names)
    assert len(used) == 3
    assert [kind for _, kind in used].count(algorithm) >= 2


async def test_token_of_another_registry_is_refused(accounts: Accounts) -> None:
    await accounts.user("alice")
    who = await accounts.control.authenticate(basic("alice", PASSWORD))
    other = await accounts.control.issue_token(who, parse_scopes([PULL]), service="docker")
    with pytest.raises(InvalidToken):
        await bearer(accounts, other.text)


# Permits: create or overwrite is decided where it happens.


async def test_permit_tells_create_from_overwrite(accounts: Accounts) -> None:
    alice, project = await accounts.user("alice"), await accounts.project("acme")
    from entrepot.server.access.directory.role_table import create_role

    await accounts.catalog.write(
        lambda c: create_role(
            c, ROOT, now=accounts.now, name="releaser", actions=["pull", "push", "create-tag"]
        )
    )
    await accounts.grant(alice, project, "releaser", tags="v*")
    permit = accounts.control.permit_for(await accounts.control.authenticate(basic("alice", PASSWORD)))

    async def ask(action: str, tag: str) -> None:
        await accounts.catalog.write(lambda c: permit(c, change(action, "acme/app", tag)))

    await ask("create-tag", "v1")
    for action, tag in (("create-tag", "latest"), ("overwrite-tag", "v1"), ("delete-tag", "v1")):
        with pytest.raises(PermitRefused, match=action):
            await ask(action, tag)


async def test_who_creates_a_project_by_pushing_owns_it(accounts: Accounts) -> None:
    alice = await accounts.user("alice", may_create_projects=True)
    who = await accounts.control.authenticate(basic("alice", PASSWORD))
    permit = accounts.control.permit_for(who)

    def push(connection: Any) -> None:
        permit(connection, change("create-project", "fresh"))
        made = connection.execute(
            __import__("sqlalchemy").text(
                "INSERT INTO project (name, created_at, created_by) VALUES ('fresh', 1, 'alice') RETURNING id"
            )
        )
        assert made.scalar_one()
        permit(connection, change("create-repository", "fresh/app"))
        permit(connection, change("push", "fresh/app"))

    await accounts.catalog.write(push)
    decision = await accounts.control.decide(who, Action.DELETE_PROJECT, "fresh/app")
    assert decision.allowed
    assert alice.may_create_projects


async def test_mount_asks_about_its_source(accounts: Accounts) -> None:
    alice, acme = await accounts.user("alice"), await accounts.project("acme")
    await accounts.project("secret")
    await accounts.grant(alice, acme, "developer")
    may_read = accounts.control.may_read_for(await accounts.control.authenticate(basic("alice", PASSWORD)))
    assert await accounts.catalog.read(may_read, "acme/other")
    assert not await accounts.catalog.read(may_read, "secret/app")
    assert not await accounts.catalog.read(may_read, "absent/app")


# Tokens, robots, teams, sources.


async def test_personal_token_is_narrow_and_hashed(accounts: Accounts) -> None:
    alice, project = await accounts.user("alice"), await accounts.project("acme")
    await accounts.grant(alice, project, "owner")
    secret = await accounts.catalog.write(
        lambda c: mint(
            c,
            ROOT,
            now=accounts.now,
            kind="pat",
            owner_id=alice.id,
            owner="alice",
            actions=["pull"],
            repositories=["acme/app"],
        )
    )
    for header in (basic("alice", secret.text), f"Bearer {secret.text}"):
        who = await accounts.control.authenticate(header)
        assert (await accounts.control.decide(who, Action.PULL, "acme/app")).allowed
        assert (await accounts.control.decide(who, Action.PUSH, "acme/app")).rule == "token-actions"
        assert (await accounts.control.decide(who, Action.PULL, "acme/b")).rule == "token-repositories"
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticate(basic("bob", secret.text))
    stored = await accounts.catalog.read(lambda c: c.execute(access_token.select()).all())
    audited = await accounts.catalog.read(lambda c: c.execute(audit.select()).all())
    assert str(secret.text) not in repr(stored) + repr(audited)
    assert [t.id for t in await accounts.catalog.read(lambda c: list_tokens(c, owner_id=alice.id))] == [
        secret.public_id
    ]


async def test_robot_changes_its_secret_with_overlap(accounts: Accounts) -> None:
    robot, first = await accounts.robot("+ci")

    async def rotate(overlap: int) -> Any:
        return await accounts.catalog.write(
            lambda c: rotate_robot_secret(
                c, ROOT, now=accounts.now, robot_id=robot.id, robot=robot.name, overlap=overlap
            )
        )

    second = await rotate(3_600_000_000)
    for secret in (first, second):
        assert (await accounts.control.authenticate(basic("+ci", secret.text))).name == "+ci"
    third = await rotate(0)
    for secret in (first, second):
        with pytest.raises(InvalidCredentials):
            await accounts.control.authenticate(basic("+ci", secret.text))
    assert (await accounts.control.authenticate(basic("+ci", third.text))).kind == "robot"


async def test_expired_robot_is_refused(accounts: Accounts) -> None:
    robot, secret = await accounts.robot("+ci")
    await accounts.catalog.write(
        lambda c: change_account(c, ROOT, robot, {"expires_at": accounts.now - 1}, now=accounts.now)
    )
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticate(basic("+ci", secret.text))


async def test_team_grants_reach_its_members(accounts: Accounts) -> None:
    alice, project = await accounts.user("alice"), await accounts.project("acme")
    from entrepot.server.access.directory.grants import add_grant

    def arrange(c: Any) -> None:
        team = create_team(c, ROOT, now=accounts.now, name="devs", external_group="corp:developers")
        add_grant(c, ROOT, now=accounts.now, project_id=project, role_name="developer", team_id=team.id)
        add_member(c, ROOT, team, alice.id, "alice", now=accounts.now)

    await accounts.catalog.write(arrange)
    who = await accounts.control.authenticate(basic("alice", PASSWORD))
    decision = await accounts.control.decide(who, Action.PUSH, "acme/app")
    assert decision.allowed
    assert "team devs" in decision.reason


async def test_groups_are_replaced_at_each_sign_in(accounts: Accounts) -> None:
    alice = await accounts.user("alice")
    await accounts.catalog.write(
        lambda c: create_team(c, ROOT, now=accounts.now, name="devs", external_group="corp:developers")
    )
    for groups, members in ((["developers", "others"], ["alice"]), ([], [])):
        await accounts.catalog.write(
            lambda c, groups=groups: follow_groups(c, ROOT, alice.id, "corp", groups, now=accounts.now)
        )
        found = await accounts.catalog.read(lambda c: list_members(c, get_team(c, "devs")))
        assert [member.name for member in found] == members


async def test_htpasswd_is_read_again_when_it_changes(accounts: Accounts, tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"

    def write(*lines: tuple[str, str]) -> None:
        file.write_text(
            "".join(f"{n}:{bcrypt.hashpw(p.encode(), bcrypt.gensalt(rounds=4)).decode()}\n" for n, p in lines)
        )

    write(("hanna", "first password"), ("admin", "x"))
    await accounts.catalog.write(
        lambda c: add_source(
            c,
            ROOT,
            accounts.control.seal,
            now=accounts.now,
            name="file",
            kind="htpasswd",
            settings={"path": str(file)},
        )
    )
    await accounts.control.reload()
    who = await accounts.control.authenticate(basic("hanna", "first password"))
    text = await token_for(accounts, who)
    with pytest.raises(InvalidCredentials):  # the name of a built-in account can't be taken over
        await accounts.control.authenticate(basic("admin", "x"))
    write(("hanna", "second one, longer"))
    assert await accounts.control.authenticate(basic("hanna", "second one, longer"))
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticate(basic("hanna", "first password"))
    write(("somebody", "else"))
    assert not (await accounts.control.decide(await bearer(accounts, text), Action.PING)).allowed
    with pytest.raises(InvalidCredentials):
        await accounts.control.authenticate(basic("hanna", "second one, longer"))


async def test_last_admin_stays(accounts: Accounts) -> None:
    await accounts.user("root", role=SystemRole.ADMIN)

    def demote(c: Any, name: str) -> None:
        change_account(c, ROOT, get_account(c, name), {"system_role": None}, now=accounts.now)

    await accounts.catalog.write(demote, "admin")
    for attempt in (
        lambda c: demote(c, "root"),
        lambda c: delete_account(c, ROOT, get_account(c, "root"), now=accounts.now),
        lambda c: change_account(c, ROOT, get_account(c, "root"), {"enabled": False}, now=accounts.now),
    ):
        with pytest.raises(Conflict, match="last admin"):
            await accounts.catalog.write(attempt)


async def test_second_writer_is_told(accounts: Accounts) -> None:
    alice = await accounts.user("alice")
    await accounts.catalog.write(lambda c: change_account(c, ROOT, alice, {"email": "a@b"}, now=accounts.now))
    with pytest.raises(VersionMismatch):
        await accounts.catalog.write(
            lambda c: change_account(
                c, ROOT, get_account(c, "alice"), {"email": "c@d"}, now=accounts.now, expected_version=1
            )
        )
    with pytest.raises(AlreadyExists):
        await accounts.catalog.write(lambda c: create_user(c, ROOT, now=accounts.now, name="alice"))


async def test_every_change_leaves_an_audit_row(accounts: Accounts) -> None:
    alice, project = await accounts.user("alice"), await accounts.project("acme")
    await accounts.grant(alice, project, "owner")
    await accounts.catalog.write(
        lambda c: change_project(c, ROOT, get_project(c, "acme"), {"visibility": "public"}, now=accounts.now)
    )
    rows = await accounts.catalog.read(lambda c: c.execute(audit.select().order_by(audit.c.seq)).all())
    mine = [(row.action, row.principal) for row in rows if row.principal == "root"]
    assert mine == [(a, "root") for a in ("create-user", "create-project", "add-grant", "change-project")]
    assert (rows[-1].old, rows[-1].new) == ("visibility=private", "visibility=public")


async def test_lists_show_what_the_caller_may_see(accounts: Accounts) -> None:
    alice = await accounts.user("alice")
    acme, _secret = await accounts.project("acme"), await accounts.project("secret")
    await accounts.project("open", "public")
    await accounts.grant(alice, acme, "viewer", repositories="acme/app/**")
    who = await accounts.control.authenticate(basic("alice", PASSWORD))
    visible = await accounts.control.visible(who)
    assert visible.visibilities == ("public", "signed-in")
    assert [(pid, pattern.text) for pid, pattern in visible.patterns] == [(acme, "acme/app/**")]
    assert (await accounts.control.visible(ANONYMOUS)).visibilities == ("public",)


async def test_last_used_is_noted(accounts: Accounts) -> None:
    robot, secret = await accounts.robot("+ci")
    await accounts.control.authenticate(basic("+ci", secret.text), address="10.1.1.1")
    await accounts.control.authenticator.close()
    token = await accounts.catalog.read(lambda c: get_token(c, secret.public_id))
    used = await accounts.catalog.read(
        lambda c: c.execute(principal.select().where(principal.c.id == robot.id)).one().last_used_at
    )
    assert (token.last_address, bool(token.last_used_at), bool(used)) == ("10.1.1.1", True, True)


async def test_unknown_user_costs_the_same_work(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4: one hash is computed whether the user exists or not, whatever kind of account it is."""
    await accounts.user("alice")
    await accounts.robot("+ci")
    verified: list[bool] = []
    pool = accounts.control.passwords
    plain = pool.verify

    async def counted(stored: str | None, password: str) -> Any:
        verified.append(stored is not None)
        return await plain(stored, password)

    monkeypatch.setattr(pool, "verify", counted)
    for name in ("alice", "nobody", "+ci", "admin"):
        with pytest.raises(InvalidCredentials):
            await accounts.control.authenticate(basic(name, "wrong"))
    assert verified == [True, False, False, False]


async def test_housekeeping_replaces_old_keys_and_forgets_old_secrets(accounts: Accounts) -> None:
    alice = await accounts.user("alice")
    day = 24 * 3600 * 1_000_000
    for expires_at in (accounts.now - 31 * day, accounts.now - day, None):
        await accounts.catalog.write(
            lambda c, at=expires_at: mint(
                c, ROOT, now=accounts.now, kind="pat", owner_id=alice.id, owner="alice", expires_at=at
            )
        )
    await accounts.catalog.write(
        lambda c: c.execute(signing_key.update().values(active_at=accounts.now - 91 * day))
    )
    await accounts.catalog.write(accounts.control._housekeep)
    await accounts.control.reload()
    assert len(accounts.control.keys.keys) == 1  # another registry has its certificate in a file
    accounts.control.settings = replace(accounts.control.settings, other_services=())
    await accounts.catalog.write(accounts.control._housekeep)
    await accounts.control.reload()
    assert len(accounts.control.keys.keys) == 2
    assert len(await accounts.catalog.read(lambda c: list_tokens(c, owner_id=alice.id))) == 2


async def test_change_by_another_process_is_seen_at_once(accounts: Accounts, tmp_path: Path) -> None:
    """Facts are kept while nothing is committed; a commit through any connection ends that."""
    import sqlite3

    alice, project = await accounts.user("alice"), await accounts.project("acme")
    await accounts.grant(alice, project, "puller")
    who = await accounts.control.authenticate(basic("alice", PASSWORD))
    for _ in range(3):
        assert (await accounts.control.decide(who, Action.PULL, "acme/app")).allowed
    with sqlite3.connect(tmp_path / "catalog.db") as other:
        other.execute("DELETE FROM access_grant")
    assert not (await accounts.control.decide(who, Action.PULL, "acme/app")).allowed
