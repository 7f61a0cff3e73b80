"""`entrepot commit`."""

from __future__ import annotations

import click

from entrepot.cli.container_options import DockerCommand, container_argument, container_store
from entrepot.cli.output import write


@click.command("commit", cls=DockerCommand, short_help="Create a new image from a container's changes")
@click.option("-a", "--author", metavar="TEXT", default="", help="Who made it")
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION",
              help="Dockerfile instruction for the settings, as 'ENV A=b'")  # fmt: skip
@click.option("-m", "--message", metavar="TEXT", default="", help="What was done")
@click.option("-p", "--pause/--no-pause", "pause", default=True, help="Keep it still meanwhile (default)")
@click.option("--timestamp", metavar="TIME",
              help="Latest time in the image: the same changes then give the same image")  # fmt: skip
@container_argument
@click.argument("repository", metavar="[REPOSITORY[:TAG]]", required=False)
def commit(
    container: str,
    repository: str | None,
    author: str,
    changes: tuple[str, ...],
    message: str,
    pause: bool,
    timestamp: str | None,
) -> None:
    """Make an image of a container: its image's layers and one with its changes. Prints the image's ID."""
    from entrepot.actions.commit import commit_container
    from entrepot.layers.reproducible import parse_timestamp

    image = commit_container(
        container,
        repository,
        author=author,
        message=message,
        changes=changes,
        pause=pause,
        timestamp_s=parse_timestamp(timestamp) if timestamp else None,
        store=container_store(container),
    )
    write(str(image.id))
