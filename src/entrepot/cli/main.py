"""Entry point: a table of commands that are imported when they are used, and the one place where
errors become a line on stderr and an exit code.

Start-up time is part of the product: this module imports click and nothing else of weight, and so
may every module under `commands/` at its top level; what a command needs it imports when it runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from entrepot.cli import exitcodes
from entrepot.cli.failures import carried_out, interrupted
from entrepot.cli.invocation import Invocation, begin
from entrepot.cli.warnings_shown import log_to_stderr

PROGRAM = "entrepot"

COMMANDS: dict[str, str] = {
    # images
    "pull": "entrepot.cli.commands.pull:pull",
    "push": "entrepot.cli.commands.push:push",
    "tag": "entrepot.cli.commands.tag:tag",
    "images": "entrepot.cli.commands.images:images",
    "rmi": "entrepot.cli.commands.rmi:rmi",
    "inspect": "entrepot.cli.commands.inspect:inspect",
    "history": "entrepot.cli.commands.history:history",
    "save": "entrepot.cli.commands.save:save",
    "load": "entrepot.cli.commands.load:load",
    "import": "entrepot.cli.commands.import_:import_",
    "search": "entrepot.cli.commands.search:search",
    "login": "entrepot.cli.commands.login:login",
    "logout": "entrepot.cli.commands.logout:logout",
    "image history": "entrepot.cli.commands.history:history",
    "image import": "entrepot.cli.commands.import_:import_",
    "image inspect": "entrepot.cli.commands.inspect:image_inspect",
    "image load": "entrepot.cli.commands.load:load",
    "image ls": "entrepot.cli.commands.images:images",
    "image prune": "entrepot.cli.commands.prune:prune",
    "image pull": "entrepot.cli.commands.pull:pull",
    "image push": "entrepot.cli.commands.push:push",
    "image rm": "entrepot.cli.commands.rmi:rmi",
    "image save": "entrepot.cli.commands.save:save",
    "image tag": "entrepot.cli.commands.tag:tag",
    # containers
    "create": "entrepot.cli.commands.create:create",
    "run": "entrepot.cli.commands.run:run",
    "start": "entrepot.cli.commands.start:start",
    "stop": "entrepot.cli.commands.stop:stop",
    "kill": "entrepot.cli.commands.kill:kill",
    "logs": "entrepot.cli.commands.logs:logs",
    "ps": "entrepot.cli.commands.ps:ps",
    "rm": "entrepot.cli.commands.rm:rm",
    "diff": "entrepot.cli.commands.diff:diff",
    "rename": "entrepot.cli.commands.rename:rename",
    "wait": "entrepot.cli.commands.wait:wait",
    "commit": "entrepot.cli.commands.commit:commit",
    "export": "entrepot.cli.commands.export:export",
    "cp": "entrepot.cli.commands.cp:cp",
    "exec": "entrepot.cli.commands.exec:exec_",
    "container cp": "entrepot.cli.commands.cp:cp",
    "container exec": "entrepot.cli.commands.exec:exec_",
    "restart": "entrepot.cli.commands.stop:restart",
    "container create": "entrepot.cli.commands.create:create",
    "container run": "entrepot.cli.commands.run:run",
    "container start": "entrepot.cli.commands.start:start",
    "container stop": "entrepot.cli.commands.stop:stop",
    "container kill": "entrepot.cli.commands.kill:kill",
    "container logs": "entrepot.cli.commands.logs:logs",
    "container rm": "entrepot.cli.commands.rm:rm",
    "container diff": "entrepot.cli.commands.diff:diff",
    "container rename": "entrepot.cli.commands.rename:rename",
    "container wait": "entrepot.cli.commands.wait:wait",
    "container commit": "entrepot.cli.commands.commit:commit",
    "container export": "entrepot.cli.commands.export:export",
    "container restart": "entrepot.cli.commands.stop:restart",
    "container inspect": "entrepot.cli.commands.inspect:container_inspect",
    "container ls": "entrepot.cli.commands.ps:ps",
    "container prune": "entrepot.cli.commands.container_prune:container_prune",
    "top": "entrepot.cli.commands.top:top",
    "container top": "entrepot.cli.commands.top:top",
    "stats": "entrepot.cli.commands.stats:stats",
    "container stats": "entrepot.cli.commands.stats:stats",
    "port": "entrepot.cli.commands.port:port",
    "container port": "entrepot.cli.commands.port:port",
    "volume ls": "entrepot.cli.commands.volume:ls",
    "volume inspect": "entrepot.cli.commands.volume:inspect",
    "volume rm": "entrepot.cli.commands.volume:rm",
    "volume prune": "entrepot.cli.commands.volume:prune",
    "system df": "entrepot.cli.commands.system:df",
    "system prune": "entrepot.cli.commands.system:prune",
    "system info": "entrepot.cli.commands.info:info",
    # images of several platforms
    "manifest create": "entrepot.cli.commands.manifest:create",
    "manifest annotate": "entrepot.cli.commands.manifest:annotate",
    "manifest inspect": "entrepot.cli.commands.manifest:inspect",
    "manifest push": "entrepot.cli.commands.manifest:push",
    "manifest rm": "entrepot.cli.commands.manifest:rm",
    # new images without running anything
    "append": "entrepot.cli.commands.mutate:append",
    "flatten": "entrepot.cli.commands.mutate:flatten",
    "mutate": "entrepot.cli.commands.mutate:mutate",
    "rebase": "entrepot.cli.commands.mutate:rebase",
    "image diff": "entrepot.cli.commands.image_diff:image_diff",
    # what is in an image
    "cat": "entrepot.cli.commands.cat:cat",
    "files": "entrepot.cli.commands.files:files",
    "size": "entrepot.cli.commands.size:size",
    "sbom": "entrepot.cli.commands.sbom:sbom",
    "scan": "entrepot.cli.commands.scan:scan",
    # anywhere to anywhere
    "copy": "entrepot.cli.commands.copy:copy",
    "sync": "entrepot.cli.commands.sync:sync",
    "tags": "entrepot.cli.commands.tags:tags",
    "ls": "entrepot.cli.commands.ls:ls",
    "delete": "entrepot.cli.commands.delete:delete",
    "events": "entrepot.cli.commands.events:events",
    "tree": "entrepot.cli.commands.tree:tree",
    "artifact put": "entrepot.cli.commands.artifact:put",
    "artifact get": "entrepot.cli.commands.artifact:get",
    "artifact list": "entrepot.cli.commands.artifact:list_",
    "artifact tree": "entrepot.cli.commands.tree:tree",
    "artifact attach": "entrepot.cli.commands.artifact:attach",
    # who made it, and who says so
    "sign": "entrepot.cli.commands.sign:sign",
    "attest": "entrepot.cli.commands.sign:attest",
    "verify": "entrepot.cli.commands.sign:verify",
    "signing verify-bundle": "entrepot.cli.commands.signing:verify_bundle",
    # the registry
    "serve": "entrepot.cli.commands.serve:serve",
    "worker": "entrepot.cli.commands.worker:worker",
    "admin": "entrepot.cli.commands.admin:admin",
    "config check": "entrepot.cli.commands.config:check",
    "config show": "entrepot.cli.commands.config:show",
    # the tool itself
    "version": "entrepot.cli.commands.version:version",
    "info": "entrepot.cli.commands.info:info",
    "help": "entrepot.cli.commands.help:help_",
    "completion": "entrepot.cli.commands.completion:completion",
}
"""Words typed → where the click command is. `group verb` rows make the group `group`.
Parts of the program add their own rows; a row is all a command needs."""

_CONTAINERS = (
    "run create start stop restart kill ps logs exec cp diff commit export rename rm wait top stats port "
    "container volume system"
)
SECTIONS: tuple[tuple[str, str], ...] = (
    ("Images", "pull push images tag rmi inspect history save load import image manifest"),
    ("Images from images", "append flatten mutate rebase"),
    ("Inside images", "files cat size sbom scan"),
    ("Containers", _CONTAINERS),
    ("Registries", "login logout search copy sync tags ls tree delete events artifact"),
    ("Signatures", "sign verify attest signing"),
    ("Run a registry", "serve admin config worker"),
    ("This tool", "help version info completion"),
)
"""Heading → commands, in the order they are shown. A command in none is shown under the last heading."""

SERVER_COMMANDS = frozenset({"serve", "worker", "admin", "config"})
"""These set up the registry's own log."""

GROUPS: dict[str, str] = {
    "artifact": "Keep files in a registry",
    "config": "Look at the registry's settings",
    "container": "Manage containers",
    "image": "Manage images",
    "manifest": "Manage manifest lists: one name for several platforms",
    "signing": "Verify signatures in files",
    "system": "Look at what is used, and remove what is not",
    "volume": "Manage volumes",
}
"""Group → the sentence its help starts with."""


class LazyGroup(click.Group):
    """A group whose commands are rows of COMMANDS below `prefix`, imported on first use."""

    def __init__(self, *args: Any, prefix: str = "", **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        names = {row[len(self.prefix) :].split(" ", 1)[0] for row in COMMANDS if row.startswith(self.prefix)}
        return sorted(names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        row = self.prefix + cmd_name
        target = COMMANDS.get(row)
        if target is not None:
            module, _, function = target.partition(":")
            command = getattr(import_module(module), function)
            if not isinstance(command, click.Command):
                raise TypeError(f"{target} is not a click command")
            return command
        if any(other.startswith(row + " ") for other in COMMANDS):
            return LazyGroup(
                name=cmd_name, prefix=row + " ", help=GROUPS.get(row, ""), no_args_is_help=False,
                invoke_without_command=True, callback=_show_help,
            )  # fmt: skip
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The program's own help shows commands by what they are about."""
        if self.prefix:
            super().format_commands(ctx, formatter)
            return
        left = set(self.list_commands(ctx))
        for number, (heading, words) in enumerate(SECTIONS, 1):
            names = [name for name in words.split() if name in left]
            left.difference_update(names)
            if number == len(SECTIONS):
                names += sorted(left)
            limit = formatter.width - 6 - max(map(len, self.list_commands(ctx)))
            rows = [(name, self._short_help(ctx, name, limit)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def _short_help(self, ctx: click.Context, name: str, limit: int) -> str:
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit) if command is not None else ""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise CtrlC from error  # click would write an empty line for it

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UnknownCommand(ctx, args[0])
        return super().resolve_command(ctx, args)


class CtrlC(Exception):
    """Ctrl-C."""


class UnknownCommand(click.UsageError):
    """A word that is in no row of COMMANDS."""

    def __init__(self, ctx: click.Context, word: str) -> None:
        super().__init__(f"unknown command: {ctx.command_path} {word}", ctx)
        from entrepot.cli.advice import advice_on

        group = ctx.command
        prefix = group.prefix if isinstance(group, LazyGroup) else ""
        known = group.list_commands(ctx) if isinstance(group, click.Group) else []
        self.advice = advice_on(prefix + word, known)
        """What to try instead; may be empty."""


def _show_help() -> None:
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from entrepot import __version__

        click.echo(f"{PROGRAM} version {__version__}")
        ctx.exit()


@click.group(
    name=PROGRAM,
    subcommand_metavar="COMMAND [ARG...]",
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Run 'entrepot COMMAND --help' for more information on a command.",
)
@click.option("--store", metavar="DIR", envvar="ENTREPOT_STORE", help="Where images are kept.")
@click.option("--config", metavar="DIR", help="Where docker's config.json with the credentials is.")
@click.option("-D", "--debug", is_flag=True, help="Show requests, and a trace when something fails.")
@click.option("-v", "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
              help="Show the version and exit.")  # fmt: skip
@click.pass_context
def cli(ctx: click.Context, store: str | None, config: str | None, debug: bool) -> None:
    """Container images without a daemon, and the registry to keep them in."""
    if config:
        os.environ["DOCKER_CONFIG"] = config
    begin(Invocation(store=store, debug=debug))
    if ctx.invoked_subcommand not in SERVER_COMMANDS:
        log_to_stderr(debug=debug)
    _show_help()


def main(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code. Every failure is one line on stderr."""
    return carried_out(lambda: _by_click(argv), debug="--debug" in argv or "-D" in argv)


def _by_click(argv: Sequence[str]) -> int | None:
    try:
        result = cli.main(list(argv), prog_name=PROGRAM, standalone_mode=False)
    except (CtrlC, click.Abort):
        return interrupted()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        from entrepot.cli.usage import report_usage_error

        return report_usage_error(error)
    return result if isinstance(result, int) else exitcodes.OK
