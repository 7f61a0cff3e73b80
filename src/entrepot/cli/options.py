"""Options many commands share, and what was said before the verb (`--store`, `--debug`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from entrepot.images.location import default_store_path

if TYPE_CHECKING:
    from entrepot.images.store import ImageStore

F = TypeVar("F", bound=Callable[..., Any])


class Invocation:
    """The options before the verb. Kept as click's `ctx.obj`."""

    def __init__(self, store: str | None = None, debug: bool = False) -> None:
        self.store = store
        self.debug = debug

    @property
    def store_path(self) -> Path:
        return Path(self.store) if self.store else default_store_path()


def invocation() -> Invocation:
    """What was said before the verb, from anywhere below a command."""
    ctx = click.get_current_context(silent=True)
    found = ctx.find_object(Invocation) if ctx is not None else None
    return found or Invocation()


def open_store() -> ImageStore:
    """The local store this command line speaks of."""
    from entrepot.images.store import ImageStore

    return ImageStore(invocation().store_path)


def log_to_stderr(*, debug: bool) -> None:
    """Warnings go to stderr; with `debug` requests too, secrets removed."""
    import logging

    log = logging.getLogger("entrepot")
    if log.handlers:
        return  # a command that logs in its own way, or a second command line in one process
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.addFilter(_once())
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if debug else logging.WARNING)


def _once() -> Callable[[Any], bool]:
    """Lets a warning through the first time it is made: a file that cannot be read is read more than once."""
    seen: set[str] = set()

    def is_new(record: Any) -> bool:
        if record.levelname != "WARNING":
            return True
        text = record.getMessage()
        if text in seen:
            return False
        seen.add(text)
        return True

    return is_new


if TYPE_CHECKING:
    _BoolType = click.ParamType[bool]
else:  # generic only in newer releases of click
    _BoolType = click.ParamType


class GoBool(_BoolType):
    """A flag's value as Go's flags take it, `-H=false` included."""

    name = "bool"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        if isinstance(value, bool):
            return value
        text = str(value).removeprefix("=").lower()
        if text not in ("1", "t", "true", "0", "f", "false"):
            self.fail(f'strconv.ParseBool: parsing "{text}": invalid syntax', param, ctx)
        return text in ("1", "t", "true")


def quiet_option(help_text: str = "Print only what a script needs") -> Callable[[F], F]:
    return click.option("-q", "--quiet", is_flag=True, help=help_text)


def format_option(
    help_text: str = "'json', 'table', or a Go template such as '{{.ID}}'",
) -> Callable[[F], F]:
    return click.option("-f", "--format", "format_", metavar="FORMAT", help=help_text)


def long_format_option(
    help_text: str = "'json', 'table', or a Go template such as '{{.ID}}'",
) -> Callable[[F], F]:
    """`--format` where `-f` already means `--filter` or `--force`."""
    return click.option("--format", "format_", metavar="FORMAT", help=help_text)


def filter_option(help_text: str) -> Callable[[F], F]:
    return click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help=help_text)


def platform_option(help_text: str = "os/arch[/variant], as in linux/arm64") -> Callable[[F], F]:
    return click.option("--platform", metavar="PLATFORM", help=help_text)


def platforms_option(help_text: str) -> Callable[[F], F]:
    """Several platforms: the option again, or with commas."""
    return click.option(
        "--platform", "platforms", metavar="PLATFORM", multiple=True, help=help_text, callback=_split
    )


def _split(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def progress_option() -> Callable[[F], F]:
    return click.option(
        "--progress", type=click.Choice(["auto", "bars", "plain", "json", "none"]), default="auto",
        envvar="ENTREPOT_PROGRESS", help="How progress is shown: bars on a terminal, else plain lines.",
    )  # fmt: skip


def insecure_option() -> Callable[[F], F]:
    return click.option(
        "--insecure", is_flag=True,
        help="Speak plain HTTP, or HTTPS with a certificate nobody vouches for, in this command.",
    )  # fmt: skip


def content_trust_option() -> Callable[[F], F]:
    """Accepted because scripts pass it; docker's own content trust is gone."""
    return click.option("--disable-content-trust", is_flag=True, hidden=True, expose_value=False)
