"""Command lines that are plain enough to be read without click.

`images`, `ps`, `inspect` and `pull` are typed all day, and loading click took 13 of the 45 ms that the first
needs beyond an empty Python. A line of theirs that has only flags and values of the table below is read here;
every other one, and everything about help, mistakes and completion, is click's. The table says nothing of its
own: a test compares it with what the commands declare, and both ways of reading with each other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from entrepot.cli.failures import carried_out
from entrepot.cli.invocation import Invocation, begin


class QuickCommand(NamedTuple):
    """How the lines of one command are read."""

    function: str
    """`module:name` of what carries it out, given the words and, by name, what was said."""
    flags: Mapping[str, str]
    """As typed → parameter that becomes True."""
    values: Mapping[str, str]
    """As typed → parameter that takes the next word."""
    lists: Mapping[str, str]
    """As typed → parameter that collects the next word, each time."""
    defaults: Mapping[str, Any]
    """Of what was not said, where not False, None or (). Options that are only here are left to click."""
    fewest_words: int
    most_words: int | None
    """Words that are no options: given one by one, None for one that is left out. None: any number, given as
    a tuple."""
    speaks: bool = False
    """To registries, which may have warnings for people."""
    environment: frozenset[str] = frozenset()
    """Variables that say something in place of an option. With one of them the line is left to click."""


_IMAGES = QuickCommand(
    function="entrepot.cli.doing.images:show_images",
    flags={"-a": "all_images", "--all": "all_images", "--digests": "digests", "--no-trunc": "no_trunc",
           "-q": "quiet", "--quiet": "quiet", "--tree": "tree"},
    values={"--format": "format_"},
    lists={"-f": "filters", "--filter": "filters"},
    defaults={},
    fewest_words=0,
    most_words=1,
)  # fmt: skip
_PS = QuickCommand(
    function="entrepot.cli.doing.ps:show_containers",
    flags={"-a": "all_containers", "--all": "all_containers", "-l": "latest", "--latest": "latest",
           "--no-trunc": "no_trunc", "-q": "quiet", "--quiet": "quiet", "-s": "size", "--size": "size"},
    values={"--format": "format_"},
    lists={"-f": "filters", "--filter": "filters"},
    defaults={"last": -1},
    fewest_words=0,
    most_words=0,
)  # fmt: skip
_INSPECT = QuickCommand(
    function="entrepot.cli.doing.inspect:show_objects",
    flags={"-s": "size", "--size": "size"},
    values={"-f": "format_", "--format": "format_", "--type": "kind"},
    lists={},
    defaults={},
    fewest_words=1,
    most_words=None,
)  # fmt: skip

_PULL = QuickCommand(
    function="entrepot.cli.doing.pull:pull_and_report",
    flags={"--all-platforms": "all_platforms", "-q": "quiet", "--quiet": "quiet", "--insecure": "insecure"},
    values={"--platform": "platform"},
    lists={},
    defaults={"all_tags": False, "at": None, "progress": "auto"},
    fewest_words=1,
    most_words=1,
    speaks=True,
    environment=frozenset({"ENTREPOT_PROGRESS"}),
)

QUICK: dict[str, QuickCommand] = {"images": _IMAGES, "ps": _PS, "inspect": _INSPECT, "pull": _PULL}
"""Word typed → how its lines are read."""


def read_line(argv: Sequence[str]) -> tuple[QuickCommand, list[Any], dict[str, Any]] | None:
    """The command, its words and what was said by name; None for a line click has to read."""
    command = QUICK.get(argv[0]) if argv else None
    if command is None or any(name in os.environ for name in (*command.environment, "_ENTREPOT_COMPLETE")):
        return None
    words: list[str] = []
    said: dict[str, Any] = {
        **dict.fromkeys(command.flags.values(), False),
        **dict.fromkeys(command.values.values()),
        **dict.fromkeys(command.lists.values(), ()),
        **command.defaults,
    }
    left = iter(argv[1:])
    for word in left:
        if word in command.flags:
            said[command.flags[word]] = True
        elif word in command.values or word in command.lists:
            value = next(left, None)
            if value is None or value.startswith("-"):
                return None
            if word in command.values:
                said[command.values[word]] = value
            else:
                said[command.lists[word]] += (value,)
        elif word.startswith("-"):
            return None
        else:
            words.append(word)
    if len(words) < command.fewest_words:
        return None
    if command.most_words is None:
        return command, [tuple(words)], said
    if len(words) > command.most_words:
        return None
    return command, [*words, *[None] * (command.most_words - len(words))], said


def carry_out_quickly(argv: Sequence[str]) -> int | None:
    """The exit code of a plain line, once it is carried out; None when it is left to click, and nothing done.

    A failure is one line on stderr, as everywhere.
    """
    found = read_line(argv)
    if found is None:
        return None
    command, words, said = found
    begin(Invocation(store=os.environ.get("ENTREPOT_STORE")))
    if command.speaks:
        from entrepot.cli.warnings_shown import log_to_stderr

        log_to_stderr(debug=False)
    module, _, name = command.function.partition(":")
    return carried_out(lambda: getattr(import_module(module), name)(*words, **said), debug=False)
