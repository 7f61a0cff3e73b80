"""Somebody a sign-in source vouches for becomes (or is) a user here.

They are linked by the source's own id, never by a name alone, so that nobody takes over an account by
choosing its name at another source.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import AlreadyExists, NameTaken
from entrepot.server.access.decision.model import Principal, PrincipalKind
from entrepot.server.access.directory.accounts import Account, create_user, find_account
from entrepot.server.access.directory.names import parse_user_name
from entrepot.server.access.directory.teams import follow_groups
from entrepot.server.access.sign_in.sources.base import Person
from entrepot.server.db.tables.access import identity, principal

__all__ = ["link_identity", "provision"]


def provision(connection: Connection, source: str, person: Person, now: int, address: str | None) -> Account:
    """The account of this person, made or brought up to date. Raises NameTaken, InvalidName."""
    name = parse_user_name(person.name)
    by = Actor(Principal(kind=PrincipalKind.USER, name=name), address)
    linked = connection.execute(
        select(principal.c.name)
        .join(identity, identity.c.principal_id == principal.c.id)
        .where(identity.c.source == source, identity.c.subject == person.subject)
    ).scalar_one_or_none()
    account = find_account(connection, linked) if linked is not None else None
    if account is None:
        if find_account(connection, name) is not None:
            raise NameTaken(
                f"the name {name} belongs to another account here",
                hint="an admin can link them: entrepot admin user link",
            )
        account = create_user(
            connection,
            by,
            now=now,
            name=name,
            display_name=person.display_name,
            email=person.email,
            source=source,
        )
        connection.execute(
            insert(identity).values(
                source=source, subject=person.subject, principal_id=account.id, linked_at=now
            )
        )
    if person.groups is not None:
        follow_groups(connection, by, account.id, source, person.groups, now=now)
    _follow_admin(connection, by, account, source, person, now)
    return find_account(connection, account.name) or account


def _follow_admin(
    connection: Connection, by: Actor, account: Account, source: str, person: Person, now: int
) -> None:
    """Only for accounts that come from this source: an admin made here stays one."""
    if person.is_admin is None or account.source != source:
        return
    wanted = "admin" if person.is_admin else None
    if account.system_role == wanted or (wanted is None and account.system_role != "admin"):
        return
    connection.execute(
        update(principal)
        .where(principal.c.id == account.id)
        .values(system_role=wanted, version=principal.c.version + 1)
    )
    record(
        connection,
        by,
        "change-user",
        now=now,
        old=f"system_role={account.system_role}",
        new=f"system_role={wanted}",
        detail={"name": account.name, "source": source},
    )


def link_identity(
    connection: Connection, by: Actor, account: Account, source: str, subject: str, *, now: int
) -> None:
    """Let somebody known to a source sign in to an account that was made otherwise. Raises AlreadyExists."""
    taken = select(identity.c.principal_id).where(identity.c.source == source, identity.c.subject == subject)
    if connection.execute(taken).first() is not None:
        raise AlreadyExists(f"{subject} at {source} is linked already")
    connection.execute(
        insert(identity).values(source=source, subject=subject, principal_id=account.id, linked_at=now)
    )
    detail = {"name": account.name, "source": source, "subject": subject}
    record(connection, by, "link-identity", now=now, detail=detail)
