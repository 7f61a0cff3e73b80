"""What `backup`, `restore` and others that speak of backups share."""

from __future__ import annotations

import sys

import click

key_option = click.option(
    "--key", metavar="FILE", help="The key file of an encrypted backup (32 random bytes)."
)
where_argument = click.argument("where", metavar="FOLDER|FILE.tar|s3://BUCKET/PREFIX")


def say(line: str) -> None:
    """Progress, for people who look on."""
    sys.stderr.write(f"{line}\n")
