"""The policy file: TOML read strictly into a `Policy`. Pure.

Whatever is not understood is refused with the setting's name; a rule that is passed over in silence would
keep, or remove, what its author did not mean.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast, get_args
from zoneinfo import ZoneInfo

from entrepot.server.config.model import Seconds
from entrepot.server.config.values import convert
from entrepot.server.policies.errors import InvalidPolicy
from entrepot.server.policies.model import (
    Deletable,
    DeleteRule,
    Guard,
    Immutable,
    KeepRule,
    Kind,
    Per,
    Policy,
    Retention,
    Schedule,
    WhichRepositories,
    WhichTags,
)
from entrepot.server.policies.patterns import EVERYTHING, Names, parse_names

__all__ = ["LONGEST", "VERSION", "join", "parse_policy"]

T = TypeVar("T")
VERSION: Final = 1
LONGEST: Final = 64 * 1024
MOST_BLOCKS: Final = 200
MOST_TEXTS: Final = 1000
"""Patterns, nearly all of them: each is compiled, and that is done where pushes wait for it."""
MOST_COUNTED: Final = 1_000_000
SECOND: Final = 1_000_000
_KEEPS: Final = ("newest", "most-recently-pulled", "pushed-within", "pulled-within", "always")
_DELETES: Final = ("older-than", "not-pulled-for", "more-than", "untagged-older-than")
_WHICH: Final = ("tags", "except", "kind")


@functools.lru_cache(maxsize=64)
def parse_policy(text: str, project: str | None = None) -> Policy:
    """Of a project's file when that is named: all of it is about that project. Raises InvalidPolicy."""
    if len(text) > LONGEST:
        raise InvalidPolicy("", f"the policy has {len(text)} characters; at most {LONGEST}")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidPolicy("", f"the policy is no TOML: {error}") from None
    if _texts(document) > MOST_TEXTS:
        raise InvalidPolicy("", f"the policy has {_texts(document)} patterns; at most {MOST_TEXTS}")
    table = _Table("", document)
    _check_version(table)
    retention = tuple(
        _retention(_Table(f"retention {n}", block), project)
        for n, block in enumerate(table.tables("retention"), start=1)
    )
    immutable = tuple(
        _immutable(_Table(f"immutable {n}", block), project)
        for n, block in enumerate(table.tables("immutable"), start=1)
    )
    if len(retention) + len(immutable) > MOST_BLOCKS:
        raise InvalidPolicy("", f"the policy has more than {MOST_BLOCKS} blocks")
    for name in ("schedule", "guard"):
        if project is not None and name in document:
            raise InvalidPolicy(name, "stands in the registry's policy alone, not in a project's")
    schedule = _schedule(_Table("schedule", table.take("schedule", _as_is, {})))
    guard = _guard(_Table("guard", table.take("guard", _as_is, {})))
    table.end()
    return Policy(retention, immutable, schedule, guard)


def _texts(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(_texts, value)) if isinstance(value, list) else isinstance(value, str)


def join(registry: Policy, projects: Mapping[str, Policy]) -> Policy:
    """What holds: the registry's blocks and those of each project, which say so in their labels."""
    retention, immutable = list(registry.retention), list(registry.immutable)
    for name, policy in sorted(projects.items()):
        retention += [_told(block, name) for block in policy.retention]
        immutable += [replace(block, label=f"{name}: {block.label}") for block in policy.immutable]
    return replace(registry, retention=tuple(retention), immutable=tuple(immutable))


def _told(block: Retention, project: str) -> Retention:
    return replace(
        block,
        label=f"{project}: {block.label}",
        keep=tuple(replace(rule, label=f"{project}: {rule.label}") for rule in block.keep),
        delete=tuple(replace(rule, label=f"{project}: {rule.label}") for rule in block.delete),
    )


def _check_version(table: _Table) -> None:
    version = table.take("version", _whole, VERSION)
    if version > VERSION:
        raise InvalidPolicy(
            "version",
            f"is {version}; this registry reads policies up to version {VERSION}",
            hint="upgrade it",
        )


def _retention(table: _Table, project: str | None) -> Retention:
    where = _repositories(table, project)
    tags = _tags(table) if any(key in table.values for key in _WHICH) else None
    rest = table.take("rest", _one_of("keep", "delete"), None)
    inherited = tags or WhichTags()
    keep = tuple(_keep(rule, inherited) for rule in table.rules("keep"))
    delete = tuple(_delete(rule, tags) for rule in table.rules("delete"))
    table.end()
    if not (keep or delete or tags or rest == "delete"):
        raise InvalidPolicy(table.where, "says neither what to keep nor what to delete")
    return Retention(table.where, where, tags, rest == "delete", keep, delete)


def _keep(table: _Table, inherited: WhichTags) -> KeepRule:
    kind = table.exactly_one(_KEEPS)
    tags = _tags(table, inherited)
    per = table.take("per", _one_of(*get_args(Per)), None)
    if per is not None and kind != "newest":
        raise InvalidPolicy(table.where, "has `per`, which goes with `newest` alone")
    rule = KeepRule(table.where, tags, per=cast("Per | None", per))
    match kind:
        case "newest":
            rule = replace(rule, newest=table.take(kind, _count, 0))
        case "most-recently-pulled":
            rule = replace(rule, recently_pulled=table.take(kind, _count, 0))
        case "pushed-within":
            rule = replace(rule, pushed_within=table.take(kind, _duration, 0))
        case "pulled-within":
            rule = replace(rule, pulled_within=table.take(kind, _duration, 0))
        case _:
            table.take(kind, _true, True)
            rule = replace(rule, always=True)
    table.end()
    return rule


def _delete(table: _Table, inherited: WhichTags | None) -> DeleteRule:
    kind = table.exactly_one(_DELETES)
    names_tags = inherited is not None or any(key in table.values for key in _WHICH)
    if kind != "untagged-older-than" and not names_tags:
        raise InvalidPolicy(
            table.where, "names no tags, so it would delete none", hint='say which: tags = "**" is all'
        )
    rule = DeleteRule(table.where, _tags(table, inherited or WhichTags()))
    match kind:
        case "older-than":
            rule = replace(rule, older_than=table.take(kind, _duration, 0))
        case "not-pulled-for":
            rule = replace(rule, not_pulled_for=table.take(kind, _duration, 0))
        case "more-than":
            rule = replace(rule, more_than=table.take(kind, _count, 0))
        case _:
            rule = replace(rule, untagged_older_than=table.take(kind, _duration, 0))
    table.end()
    return rule


def _immutable(table: _Table, project: str | None) -> Immutable:
    where = _repositories(table, project)
    if "tags" not in table.values:
        raise InvalidPolicy(table.where, "names no tags", hint='say which: tags = "**" is all')
    tags = _tags(table)
    delete = cast("Deletable", table.take("delete", _one_of(*get_args(Deletable)), None) or "never")
    table.end()
    return Immutable(table.where, where, tags, delete)


def _repositories(table: _Table, project: str | None) -> WhichRepositories:
    said = table.take("projects", _names, None)
    if project is not None:
        if said is not None and said.texts != (project,):
            raise InvalidPolicy(table.where, f"is in the policy of {project} and can't name other projects")
        said = parse_names([project])
    repositories = table.take("repositories", _names, EVERYTHING)
    return WhichRepositories(said or EVERYTHING, repositories, said is not None)


def _tags(table: _Table, inherited: WhichTags | None = None) -> WhichTags:
    base = inherited or WhichTags()
    names = table.take("tags", _names, None)
    without = table.take("except", _names, None)
    kinds = table.take("kind", _kinds, None)
    return WhichTags(
        base.names if names is None else names,
        # What a block leaves out of its own tags is not left out of those that a rule names anew.
        without if without is not None or names is not None else base.without,
        base.kinds if kinds is None else kinds,
    )


def _schedule(table: _Table) -> Schedule:
    zone = table.take("time-zone", _zone, "UTC")
    cron = table.take("retention", _cron, Schedule().cron)
    table.end()
    return Schedule(cron, zone)


def _guard(table: _Table) -> Guard:
    most = table.take("most-removed", _share, Guard().most_removed)
    table.end()
    return Guard(most)


class _Table:
    """A TOML table that is emptied as it is read; what is left over at the end is unknown."""

    def __init__(self, where: str, values: Any) -> None:
        self.where = where
        if not isinstance(values, dict):
            raise InvalidPolicy(where, "is no table")
        self.values: dict[str, Any] = dict(values)
        self._known: list[str] = []

    def take(self, key: str, read: Callable[[Any], T], default: T) -> T:
        self._known.append(key)
        if key not in self.values:
            return default
        try:
            return read(self.values.pop(key))
        except ValueError as error:
            where = f"{self.where}, {key}" if self.where else key
            raise InvalidPolicy(where, str(error)) from None

    def tables(self, key: str) -> Sequence[Any]:
        found: Any = self.take(key, _as_is, [])
        if not isinstance(found, list):
            raise InvalidPolicy(key, f"is written [[{key}]], with two brackets")
        return found

    def rules(self, key: str) -> list[_Table]:
        found: Any = self.take(key, _as_is, [])
        if isinstance(found, dict):
            found = [found]
        if not isinstance(found, list):
            raise InvalidPolicy(f"{self.where}, {key}", "is a list of tables, as [{ newest = 5 }]")
        return [_Table(f"{self.where}, {key} {n}", rule) for n, rule in enumerate(found, start=1)]

    def exactly_one(self, keys: Sequence[str]) -> str:
        said = [key for key in keys if key in self.values]
        if len(said) == 1:
            return said[0]
        unknown = sorted(set(self.values) - set(keys) - {*_WHICH, "per"})
        if unknown and not said:
            raise InvalidPolicy(
                self.where, f"there is no `{unknown[0]}`", hint=f"there are {', '.join(keys)}"
            )
        what = "needs one of" if not said else f"says {' and '.join(said)}; a rule has one of"
        raise InvalidPolicy(self.where, f"{what} {', '.join(keys)}")

    def end(self) -> None:
        for key in self.values:
            raise InvalidPolicy(
                self.where, f"there is no `{key}`", hint=f"there are {', '.join(sorted(set(self._known)))}"
            )


def _as_is(value: Any) -> Any:
    return value


def _names(value: Any) -> Names:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError('is a pattern or a list of them, as ["v*", "!v0.*"]')
    return parse_names(texts)


def _kinds(value: Any) -> frozenset[Kind]:
    said = [value] if isinstance(value, str) else value
    known = get_args(Kind)
    if not isinstance(said, list) or not said or not all(one in known for one in said):
        raise ValueError(f"is {value!r}; it may be {', '.join(known)}, or a list of them")
    return frozenset(said)


def _one_of(*choices: str) -> Callable[[Any], str | None]:
    def read(value: Any) -> str | None:
        if value not in choices:
            raise ValueError(f"is {value!r}; it may be {' or '.join(repr(choice) for choice in choices)}")
        return str(value)

    return read


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"is {value!r}; it is a whole number, 0 or more")
    return value


def _count(value: Any) -> int:
    number = _whole(value)
    if number > MOST_COUNTED:
        raise ValueError(f"is {number}; at most {MOST_COUNTED}")
    return number


def _duration(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError(f'is {value!r}; it is a duration such as "30d" or "12h"')  # noqa: TRY004
    return round(float(convert(value, Seconds, from_text=False)) * SECOND)


def _true(value: Any) -> bool:
    if value is not True:
        raise ValueError("is true, or not said")
    return True


def _share(value: Any) -> float:
    number = value.removesuffix("%").strip() if isinstance(value, str) and value.endswith("%") else ""
    if not number.isascii() or not number.isdigit() or int(number) > 100:
        raise ValueError(f'is {value!r}; it is a share such as "30%"')
    return int(number) / 100


def _zone(value: Any) -> str:
    try:
        if isinstance(value, str):
            ZoneInfo(value)
            return value
    except (KeyError, OSError, ValueError):
        pass
    raise ValueError(f'is {value!r}; it is a time zone such as "Europe/Berlin"')


def _cron(value: Any) -> str:
    from cronsim import CronSim, CronSimError

    if not isinstance(value, str):
        raise ValueError('is a line of five fields such as "30 3 * * *"')  # noqa: TRY004
    if len(value.split()) != 5:
        raise ValueError(f'is {value!r}, with {len(value.split())} fields; it has five, as "30 3 * * *"')
    try:
        next(CronSim(value, datetime.now(UTC)))
    except CronSimError as error:
        raise ValueError(f"is {value!r}: {str(error).lower()}, field {_field(value)}") from None
    except StopIteration:
        raise ValueError(f"is {value!r}, which never comes") from None
    return value


def _field(line: str) -> int:
    """Which of the fields cron stumbles over, from 1."""
    from cronsim import CronSim, CronSimError

    for n, field in enumerate(line.split()):
        alone = ["*"] * 5
        alone[n] = field
        try:
            CronSim(" ".join(alone), datetime.now(UTC))
        except CronSimError:
            return n + 1
    return 1
