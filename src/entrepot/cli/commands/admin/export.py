"""`entrepot admin export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.places import say
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import write
from entrepot.wording import plural

if TYPE_CHECKING:
    from entrepot.server.control.backups import Exported
    from entrepot.server.control.moving import TreeWritten


@click.command("export", short_help="Write everything as OCI image layouts, or for Docker Registry")
@click.argument("words", nargs=-1, required=True, metavar="[docker-registry] FOLDER")
@click.option("--repository", metavar="PATTERN", default="*", help="Only those, as `team/*`.")
@click.option(
    "--oci",
    "convert",
    is_flag=True,
    help="Images in docker's format as OCI ones; their IDs stay, their digests change.",
)
@click.pass_context
def export(ctx: click.Context, words: tuple[str, ...], repository: str, convert: bool) -> None:
    """Write each repository as an OCI image layout below FOLDER. `docker-registry FOLDER|s3://BUCKET/PREFIX`:
    all of them as the storage of a Docker Registry, which serves it as it is.

    The registry goes on meanwhile. A later run adds what is new. Bytes stay what they are; skopeo and podman
    read images that docker has pushed only with --oci. Exit code 1 when something is missing.
    """
    *form, where = words
    if form and (form != ["docker-registry"] or convert):
        raise click.UsageError("name a folder, or docker-registry and a folder (then without --oci)")
    ctx.exit(_print(_registry(where, repository) if form else _layouts(where, repository, convert)))


def _layouts(where: str, repository: str, convert: bool) -> Exported:
    from entrepot.server.control.backups import export as export_all

    return as_operator(
        lambda services, actor: export_all(
            services, actor, folder=Path(where), repositories=repository, as_oci=convert, say=say
        ),
        with_accounts=False,
    )


def _registry(where: str, repository: str) -> TreeWritten:
    from entrepot.server.control.moving import write_out

    return as_operator(
        lambda services, actor: write_out(services, actor, where=where, repositories=repository, say=say),
        with_accounts=False,
    )


def _print(report: Exported | TreeWritten) -> int:
    for problem in report.problems:
        write(problem)
    write(
        f"exported {plural(report.repositories, 'repository', 'repositories')},"
        f" {plural(report.manifests, 'manifest')}, {plural(report.tags, 'tag')}"
    )
    return FAILED if report.problems else OK
