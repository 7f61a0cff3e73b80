"""What is remembered of rights in one process holds until another changes them, on each kind of catalog."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, insert, update

from entrepot.server.access.accounts_mode import AccountsControl
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import InvalidCredentials, PermitRefused
from entrepot.server.access.decision.model import Action, Principal, PrincipalKind
from entrepot.server.access.directory.accounts import change_account, create_user, get_account
from entrepot.server.access.directory.grants import add_grant, list_grants, remove_grant
from entrepot.server.access.directory.projects import change_project, create_project, get_project
from entrepot.server.access.directory.role_table import change_role, create_role, get_role
from entrepot.server.access.directory.settings import set_project_creation, set_read_only
from entrepot.server.access.directory.teams import add_member, create_team, get_team, remove_member
from entrepot.server.access.secrets.access_tokens import get_token, mint, revoke
from entrepot.server.db.tables import repo
from entrepot.server.repos.uploads.rows import make_repository
from tests.contract.access.conftest import PASSWORD, ROOT

pytestmark = pytest.mark.anyio
Nodes = tuple[AccountsControl, AccountsControl]


def fill(connection: Connection) -> Principal:
    """Project acme; carl pushes through team devs in the role releaser, and with a token of his."""
    carl = create_user(connection, ROOT, now=1, name="carl")
    project = create_project(connection, ROOT, now=1, name="acme")
    connection.execute(insert(repo).values(project_id=project.id, name="acme/app", created_at=1))
    create_role(connection, ROOT, now=1, name="releaser", actions=["read", "pull", "push"], description="")
    team = create_team(connection, ROOT, now=1, name="devs")
    add_member(connection, ROOT, team, carl.id, "carl", now=1)
    add_grant(connection, ROOT, now=1, project_id=project.id, role_name="releaser", team_id=team.id)
    token = mint(connection, ROOT, now=1, kind="pat", owner_id=carl.id, owner="carl")
    return Principal(PrincipalKind.USER, "carl", carl.id, carl.epoch, token_id=token.public_id)


def ends_token(c: Connection, who: Principal) -> None:
    revoke(c, ROOT, get_token(c, str(who.token_id)), now=2)


def disables(c: Connection, _: Principal) -> None:
    change_account(c, ROOT, get_account(c, "carl"), {"enabled": False}, now=2)


def leaves_team(c: Connection, who: Principal) -> None:
    remove_member(c, ROOT, get_team(c, "devs"), who.id, "carl", now=2)


def takes_grant(c: Connection, _: Principal) -> None:
    [grant] = list_grants(c, project_id=get_project(c, "acme").id)
    remove_grant(c, ROOT, grant, now=2)


def narrows_role(c: Connection, _: Principal) -> None:
    change_role(c, ROOT, get_role(c, "releaser"), actions=["read"], now=2)


def deletes_project(c: Connection, _: Principal) -> None:
    from entrepot.server.db.tables import project

    c.execute(update(project).where(project.c.name == "acme").values(deleted_at=2))


def stops_writes(c: Connection, _: Principal) -> None:
    set_read_only(c, ROOT, True, now=2)


CHANGES = [ends_token, disables, leaves_team, takes_grant, narrows_role, deletes_project, stops_writes]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_what_was_taken_away_elsewhere_is_refused_at_once(
    nodes: Nodes, change: Callable[[Connection, Principal], None]
) -> None:
    one, other = nodes
    carl = await one.catalog.write(fill)
    for _ in range(3):
        assert (await other.decide(carl, Action.PUSH, "acme/app")).allowed
    await one.catalog.write(change, carl)
    assert not (await other.decide(carl, Action.PUSH, "acme/app")).allowed


async def test_what_was_given_elsewhere_holds_at_once(nodes: Nodes) -> None:
    one, other = nodes
    carl = replace(await one.catalog.write(fill), token_id=None)
    anonymous = Principal(PrincipalKind.ANONYMOUS, "")
    assert not (await other.decide(anonymous, Action.PULL, "acme/app")).allowed
    await one.catalog.write(
        lambda c: change_project(c, ROOT, get_project(c, "acme"), {"visibility": "public"}, now=2)
    )
    assert (await other.decide(anonymous, Action.PULL, "acme/app")).allowed
    assert not (await other.decide(carl, Action.DELETE_TAG, "acme/app")).allowed
    await one.catalog.write(
        lambda c: add_grant(
            c, ROOT, now=2, project_id=get_project(c, "acme").id, role_name="owner", principal_id=carl.id
        )
    )
    assert (await other.decide(carl, Action.DELETE_TAG, "acme/app")).allowed


async def test_a_repository_made_again_is_another_one_at_once(nodes: Nodes) -> None:
    one, other = nodes
    carl = await one.catalog.write(fill)
    from entrepot.server.access.decision.model import Resource

    async def number() -> int | None:
        return (await other.facts(carl, Resource(repository="acme/app"))).repository_id

    first = await number()
    await one.catalog.write(lambda c: c.execute(update(repo).values(deleted_at=2)))
    assert await number() is None
    project_id = await one.catalog.read(lambda c: get_project(c, "acme").id)
    await one.catalog.write(
        lambda c: c.execute(insert(repo).values(project_id=project_id, name="acme/app", created_at=3))
    )
    assert await number() not in {None, first}


async def test_facts_are_read_once_while_nothing_changes(nodes: Nodes, monkeypatch: Any) -> None:
    """Not by a push into a repository either, nor when a secret was used."""
    one, other = nodes
    carl = await one.catalog.write(fill)
    await other.decide(carl, Action.PULL, "acme/app")
    asked = []
    plain = type(other.catalog).hot

    async def counted(self: Any, query: Any, **params: Any) -> Any:
        asked.append(query)
        return await plain(self, query, **params)

    monkeypatch.setattr(type(other.catalog), "hot", counted)
    for _ in range(5):
        await other.decide(carl, Action.PULL, "acme/app")
    assert len(asked) == (5 if other.catalog.dialect == "postgresql" else 0)
    assert len(set(asked)) <= 1
    if other.catalog.dialect == "postgresql":
        await one.catalog.write(lambda c: c.execute(update(repo).values(pushed_at=5)))
        await one.catalog.write(mint_more, carl)
        await other.decide(carl, Action.PULL, "acme/app")
        assert len(set(asked)) == 1


async def test_what_is_not_there_costs_as_much_as_what_is_hidden(nodes: Nodes, monkeypatch: Any) -> None:
    """A4: the same queries, so that time does not tell which hidden repositories there are."""
    one, other = nodes
    await one.catalog.write(fill)
    stranger = Principal(PrincipalKind.ANONYMOUS, "")
    asked: list[Any] = []
    plain = type(other.catalog).hot

    async def counted(self: Any, query: Any, **params: Any) -> Any:
        asked.append(query)
        return await plain(self, query, **params)

    monkeypatch.setattr(type(other.catalog), "hot", counted)
    seen = []
    for name in ("acme/app", "acme/nothing", "nobody/nothing"):
        asked.clear()
        for _ in range(3):
            assert not (await other.decide(stranger, Action.PULL, name)).allowed
        seen.append(list(asked))
    assert seen[0] == seen[1] == seen[2]


async def test_a_secret_is_refused_at_once_when_it_was_revoked_elsewhere(nodes: Nodes) -> None:
    one, other = nodes
    who = await one.catalog.write(fill)
    secret = await one.catalog.write(
        lambda c: mint(c, ROOT, now=1, kind="pat", owner_id=who.id, owner="carl")
    )
    for _ in range(2):
        assert (
            await other.authenticator.secret(str(secret.text), kinds=("pat",), address=None)
        ).name == "carl"
    await one.catalog.write(lambda c: revoke(c, ROOT, get_token(c, secret.public_id), now=2))
    with pytest.raises(InvalidCredentials):
        await other.authenticator.secret(str(secret.text), kinds=("pat",), address=None)


def mint_more(c: Connection, carl: Principal) -> None:
    mint(c, ROOT, now=1, kind="pat", owner_id=carl.id, owner="carl")


async def test_only_who_made_a_project_by_pushing_owns_it(nodes: Nodes) -> None:
    """Whoever lost the race for its name owned it too: a transaction that ran again still thought so."""
    one, two = nodes
    await one.catalog.write(lambda c: set_project_creation(c, ROOT, "signed-in", now=1))
    alice = await one.authenticator.basic("alice", PASSWORD, address=None)
    bob = await two.authenticator.basic("bob", PASSWORD, address=None)

    async def push(node: AccountsControl, who: Principal, name: str) -> bool:
        try:
            await node.catalog.write(make_repository, name, Actor(who), node.permit_for(who), 1)
        except PermitRefused:
            return False
        return True

    for number in range(10):
        made = await asyncio.gather(push(one, alice, f"p{number}/a"), push(two, bob, f"p{number}/b"))
        assert sorted(made) == [False, True]
        made = await asyncio.gather(push(one, alice, f"q{number}/a"), push(two, alice, f"q{number}/b"))
        assert made == [True, True]
