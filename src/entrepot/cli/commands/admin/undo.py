"""`entrepot admin undo`."""

from __future__ import annotations

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import moment, parse_moment, print_rows
from entrepot.cli.options import format_option


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
    from entrepot.server.control import deletion, projects

    if project is not None:
        as_operator(lambda services, actor: projects.restore_project(services, actor, project))
        click.echo(project)
    elif not what:
        found = as_operator(lambda services, actor: deletion.list_undoable(services, actor, n=1000))
        rows = [
            {"what": u.kind, "name": u.name, "digest": u.digest, "when": moment(u.at), "by": u.by}
            for u in found
        ]
        print_rows(("what", "name", "digest", "when", "by"), rows, format_)
    elif ":" in what.rpartition("/")[2]:
        repository, _, tag = what.rpartition(":")
        click.echo(_put_back(repository, tag, at, digest))
    else:
        as_operator(lambda services, actor: deletion.restore_repository(services, actor, what))
        click.echo(what)


def _put_back(repository: str, tag: str, at: str | None, digest: str | None) -> str:
    from entrepot.oci.digest import Digest
    from entrepot.oci.reference import parse_tag
    from entrepot.server.control import tags

    wanted = Digest.parse(digest) if digest is not None else None
    when = parse_moment(at) if at is not None else None
    back = as_operator(
        lambda services, actor: tags.put_back(
            services, actor, repository, parse_tag(tag), digest=wanted, at=when
        )
    )
    return f"{repository}:{tag}@{back.digest}"
