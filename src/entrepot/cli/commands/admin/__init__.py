"""`entrepot admin …`: the operator's commands, run on the server's own machine.

They open the same catalog and store as `entrepot serve`, from the same settings, beside it or without it.
A command is a row of ADMIN_COMMANDS; its module is imported when it is typed. Inside a command,
`admin_config()` is the configuration, `as_operator(fn)` runs `await fn(services, actor)` for a use case of
`control`, and `with_services(fn)` runs `await fn(services)` for what needs no actor.
"""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from entrepot.server.access.decision.actor import Actor
    from entrepot.server.config import Config
    from entrepot.server.control.services import Services

T = TypeVar("T")

ADMIN_COMMANDS: dict[str, str] = {
    "backup": "entrepot.cli.commands.admin.backup:backup",
    "restore": "entrepot.cli.commands.admin.restore:restore",
    "export": "entrepot.cli.commands.admin.export:export",
    "import": "entrepot.cli.commands.admin.import_:import_",
    "rebuild": "entrepot.cli.commands.admin.rebuild:rebuild",
    "doctor": "entrepot.cli.commands.admin.doctor:doctor",
    "jobs": "entrepot.cli.commands.admin.jobs:jobs",
    "nodes": "entrepot.cli.commands.admin.nodes:nodes",
    "migrate": "entrepot.cli.commands.admin.migrate:migrate",
    "scrub": "entrepot.cli.commands.admin.scrub:scrub",
    "reconcile": "entrepot.cli.commands.admin.reconcile:reconcile",
    "gc": "entrepot.cli.commands.admin.gc:gc",
    "fsck": "entrepot.cli.commands.admin.fsck:fsck",
    "explain": "entrepot.cli.commands.admin.explain:explain",
    "grant": "entrepot.cli.commands.admin.grant:grant",
    "policy": "entrepot.cli.commands.admin.policy:policy",
    "project": "entrepot.cli.commands.admin.project:project",
    "robot": "entrepot.cli.commands.admin.robot:robot",
    "role": "entrepot.cli.commands.admin.role:role",
    "source": "entrepot.cli.commands.admin.source:source",
    "team": "entrepot.cli.commands.admin.team:team",
    "token": "entrepot.cli.commands.admin.token:token",
    "undo": "entrepot.cli.commands.admin.undo:undo",
    "upstream": "entrepot.cli.commands.admin.upstream:upstream",
    "user": "entrepot.cli.commands.admin.user:user",
}
"""Word after `admin` → "module:click command". Parts of the server add their own rows."""


@dataclass(frozen=True, slots=True)
class AdminInvocation:
    """What was said between `admin` and the verb."""

    config: str | None = None
    data: str | None = None


class AdminGroup(click.Group):
    """Commands of ADMIN_COMMANDS, imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(ADMIN_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        target = ADMIN_COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, name = target.partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{target} is not a click command")
        return command


@click.group(cls=AdminGroup, invoke_without_command=True)
@click.option("--config", metavar="FILE", envvar="ENTREPOT_CONFIG", help="The server's TOML file.")
@click.option("--data", metavar="DIR", help="Where the server keeps its data.")
@click.pass_context
def admin(ctx: click.Context, config: str | None, data: str | None) -> None:
    """Look after a registry, on the machine that runs it."""
    ctx.obj = AdminInvocation(config=config, data=data)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def admin_config() -> Config:
    """The configuration this command line speaks of. Raises ConfigInvalid."""
    from entrepot.server.config import load

    said = click.get_current_context().find_object(AdminInvocation) or AdminInvocation()
    overrides = {"server.data": said.data} if said.data else {}
    return load(said.config, overrides=overrides)


def as_operator(use: Callable[[Services, Actor], Awaitable[T]], *, with_accounts: bool = True) -> T:
    """`await use(services, actor)` as whoever typed the command; returns its result.

    What accounts need is made first, so that they can be prepared before the first start; not for a command
    that has nothing to do `with_accounts`, or only looks.
    """

    async def run(services: Services) -> T:
        if with_accounts:
            from entrepot.server.control.first_start import prepare_accounts

            await prepare_accounts(services)
        return await use(services, operator())

    return with_services(run)


def operator() -> Actor:
    """Who is at the keyboard, for audit rows."""
    from entrepot.server.access.decision.actor import Actor
    from entrepot.server.access.decision.model import Principal, PrincipalKind

    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return Actor(Principal(kind=PrincipalKind.OPERATOR, name=f"{name} (command line)"))


def with_services(use: Callable[[Services], Awaitable[T]]) -> T:
    """Open catalog and store, `await use(services)`, close both; returns its result."""
    import asyncio

    from entrepot.server.compose import opened

    config = admin_config()

    async def run() -> T:
        async with opened(config) as services:
            return await use(services)

    return asyncio.run(run())
