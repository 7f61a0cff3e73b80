"""Mistakes on the command line, in docker's words: which command, its usage, where to read more."""

from __future__ import annotations

import sys

import click

from entrepot.cli import exitcodes


def report_usage_error(error: click.ClickException) -> int:
    """Write the message to stderr; return 125 for a bad flag and 1 for anything else, as docker does."""
    ctx = getattr(error, "ctx", None)
    text, code = _describe(error, ctx)
    lines = [text]
    if ctx is not None and type(error).__name__ == "UnknownCommand":
        advice = getattr(error, "advice", "")
        if advice:
            lines += ["", advice]
        if ctx.parent is not None:
            lines += ["", f"Usage:  {ctx.command_path}"]
        lines += ["", f"Run '{ctx.command_path} --help' for more information"]
    elif ctx is not None:
        lines += ["", _usage_line(ctx), "", _read_more(error, ctx)]
    sys.stderr.write("\n".join(lines) + "\n")
    return code


def _describe(error: click.ClickException, ctx: click.Context | None) -> tuple[str, int]:
    if isinstance(error, click.NoSuchOption):
        return _unknown_flag(error.option_name), exitcodes.BAD_USAGE
    if isinstance(error, click.BadOptionUsage):
        return _flag_needs_argument(error), exitcodes.BAD_USAGE
    if _is_wrong_count(error) and ctx is not None:
        return f"{ctx.find_root().info_name}: {_count_sentence(ctx)}", exitcodes.FAILED
    if isinstance(error, click.MissingParameter):
        return error.format_message(), exitcodes.FAILED
    if isinstance(error, click.BadParameter):
        return _bad_value(error), exitcodes.BAD_USAGE
    message = error.format_message()
    if type(error).__name__ == "UnknownCommand" and ctx is not None:
        return f"{ctx.find_root().info_name}: {message}", exitcodes.FAILED
    return message, exitcodes.FAILED


def _unknown_flag(name: str) -> str:
    if name.startswith("--"):
        return f"unknown flag: {name}"
    return f"unknown shorthand flag: '{name[1:]}' in {name}"


def _flag_needs_argument(error: click.BadOptionUsage) -> str:
    if "requires an argument" in error.message:
        return f"flag needs an argument: {error.option_name}"
    return error.format_message()


def _bad_value(error: click.BadParameter) -> str:
    if isinstance(error.param, click.Option):
        flags = ", ".join(sorted(error.param.opts, key=len))
        return f'invalid argument for "{flags}" flag: {error.message}'
    return error.message


def _is_wrong_count(error: click.ClickException) -> bool:
    if isinstance(error, click.MissingParameter):
        return error.param is None or isinstance(error.param, click.Argument)
    return isinstance(error, click.UsageError) and "unexpected extra argument" in error.message


def _bounds(ctx: click.Context) -> tuple[int, int | None]:
    """Fewest and most arguments the command takes; None is no bound."""
    least, most = 0, 0
    unbounded = False
    for parameter in ctx.command.params:
        if isinstance(parameter, click.Argument):
            least += 1 if parameter.required else 0
            most += 1
            unbounded = unbounded or parameter.nargs == -1
    return least, None if unbounded else most


def _count_sentence(ctx: click.Context) -> str:
    least, most = _bounds(ctx)
    command = f"'{ctx.command_path}'"
    if most == 0:
        return f"{command} accepts no arguments"
    if most is None:
        return f"{command} requires at least {_arguments(least)}"
    if least == most:
        return f"{command} requires {_arguments(least)}"
    if least == 0:
        return f"{command} requires at most {_arguments(most)}"
    return f"{command} requires at least {least} and at most {_arguments(most)}"


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"


def _usage_line(ctx: click.Context) -> str:
    pieces = ctx.command.collect_usage_pieces(ctx)
    if not any(isinstance(parameter, click.Option) for parameter in ctx.command.params):
        pieces = [piece for piece in pieces if piece != ctx.command.options_metavar]
    return " ".join(["Usage: ", ctx.command_path, *pieces])


def _read_more(error: click.ClickException, ctx: click.Context) -> str:
    least, most = _bounds(ctx)
    # docker says "See" where a command takes "at least" some arguments and "Run" elsewhere.
    verb = "See" if _is_wrong_count(error) and most != least else "Run"
    return f"{verb} '{ctx.command_path} --help' for more information"
