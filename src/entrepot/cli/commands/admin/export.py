"""`entrepot admin export`."""

from __future__ import annotations

from pathlib import Path

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.places import say
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import write
from entrepot.wording import plural


@click.command("export", short_help="Write everything as OCI image layouts")
@click.argument("folder")
@click.option("--repository", metavar="PATTERN", default="*", help="Only those, as `team/*`.")
@click.option(
    "--oci",
    "convert",
    is_flag=True,
    help="Images in docker's format as OCI ones; their IDs stay, their digests change.",
)
@click.pass_context
def export(ctx: click.Context, folder: str, repository: str, convert: bool) -> None:
    """Write each repository as an OCI image layout below FOLDER.

    The registry goes on meanwhile. A later run adds what is new. Bytes stay what they are; skopeo and podman
    read images that docker has pushed only with --oci. Exit code 1 when something is missing.
    """
    from entrepot.server.control.backups import export as export_all

    report = as_operator(
        lambda services, actor: export_all(
            services, actor, folder=Path(folder), repositories=repository, as_oci=convert, say=say
        ),
        with_accounts=False,
    )
    for problem in report.problems:
        write(problem)
    write(
        f"exported {plural(report.repositories, 'repository', 'repositories')},"
        f" {plural(report.manifests, 'manifest')}, {plural(report.tags, 'tag')}"
    )
    ctx.exit(FAILED if report.problems else OK)
