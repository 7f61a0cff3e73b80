"""`entrepot admin undo`."""

from __future__ import annotations

from typing import Any

import click

from entrepot.cli.commands.admin import operator, with_services
from entrepot.cli.commands.admin.accounts import moment, parse_moment, print_rows
from entrepot.cli.options import format_option
from entrepot.errors import NotFound


@click.command("undo", short_help="Bring back what was deleted or overwritten")
@click.argument("what", metavar="[REPO[:TAG]]", default="")
@click.option("--at", metavar="TIME", help="Put the tag back to what it was then, as 2026-10-01T12:00:00Z.")
@click.option("--digest", metavar="DIGEST", help="Put the tag to this manifest.")
@click.option("--project", metavar="NAME", help="Bring back a deleted project with its repositories.")
@format_option()
def undo(what: str, at: str | None, digest: str | None, project: str | None, format_: str | None) -> None:
    """Without REPO: list what can be brought back. REPO:TAG goes back to what it was; REPO is restored.

    What was deleted or overwritten is kept until `gc.undo_window` ends.
    """
    if project is not None:
        with_services(lambda services: _project(services, project))
        click.echo(project)
    elif not what:
        rows = with_services(_list)
        print_rows(("what", "name", "digest", "when", "by"), rows, format_)
    elif ":" in what.rpartition("/")[2]:
        repository, _, tag = what.rpartition(":")
        click.echo(with_services(lambda services: _tag(services, repository, tag, at, digest)))
    else:
        with_services(lambda services: _repository(services, what))
        click.echo(what)


async def _list(services: Any) -> list[dict[str, Any]]:
    from entrepot.server.control.tombstones import list_undoable

    found = await services.catalog.read(lambda connection: list_undoable(connection, n=1000))
    return [
        {"what": u.kind, "name": u.name, "digest": u.digest, "when": moment(u.at), "by": u.by} for u in found
    ]


async def _project(services: Any, name: str) -> None:
    from entrepot.server.control.tombstones import restore_project

    await services.catalog.write(restore_project, name, operator(), services.catalog.clock.now())


async def _repository(services: Any, name: str) -> None:
    from entrepot.server.access.decision.change import allow_all
    from entrepot.server.control.tombstones import restore_repository

    await services.catalog.write(
        restore_repository, name, operator(), allow_all, services.catalog.clock.now()
    )


async def _tag(services: Any, repository: str, tag: str, at: str | None, digest: str | None) -> str:
    from entrepot.oci.digest import Digest
    from entrepot.server.repos.history import History

    history = History(services.catalog)
    if digest is not None:
        wanted = Digest.parse(digest)
    elif at is not None:
        found = await history.manifest_at(repository, tag, parse_moment(at))
        if found is None:
            raise NotFound(f"{repository}:{tag} was nothing then, or that has been collected")
        wanted = found.digest
    else:
        events, _more = await history.of_tag(repository, tag, n=1)
        if not events or events[0].old is None:
            raise NotFound(f"{repository}:{tag} has no earlier state")
        wanted = Digest.parse(events[0].old)
    await history.restore_tag(repository, tag, wanted, actor=operator())
    return f"{repository}:{tag}@{wanted}"
