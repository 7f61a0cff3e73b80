"""Options many commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from entrepot.cli.invocation import Invocation as Invocation
from entrepot.cli.invocation import invocation as invocation
from entrepot.cli.invocation import open_store as open_store

F = TypeVar("F", bound=Callable[..., Any])


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
