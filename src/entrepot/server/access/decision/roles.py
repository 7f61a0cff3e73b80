"""Roles are named sets of actions. The five built-in ones grow from left to right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from entrepot.server.access.decision.errors import InvalidName
from entrepot.server.access.decision.model import PROJECT_ACTIONS, Action

__all__ = ["BUILTIN_ROLES", "VISIBLE_ACTIONS", "parse_role_actions", "with_implied"]

_VIEWER: Final = frozenset({Action.READ})
_PULLER: Final = _VIEWER | {Action.PULL}
_DEVELOPER: Final = _PULLER | {
    Action.PUSH,
    Action.CREATE_TAG,
    Action.OVERWRITE_TAG,
    Action.CREATE_REPOSITORY,
    Action.EDIT_REPOSITORY,
    Action.READ_MEMBERS,
}
_MAINTAINER: Final = _DEVELOPER | {
    Action.DELETE_TAG,
    Action.DELETE_MANIFEST,
    Action.DELETE_BLOB,
    Action.DELETE_REPOSITORY,
    Action.RESTORE,
    Action.MANAGE_ROBOTS,
    Action.READ_AUDIT,
}
_OWNER: Final = PROJECT_ACTIONS

BUILTIN_ROLES: Final[dict[str, frozenset[Action]]] = {
    "viewer": _VIEWER,
    "puller": _PULLER,
    "developer": _DEVELOPER,
    "maintainer": _MAINTAINER,
    "owner": _OWNER,
}

VISIBLE_ACTIONS: Final = _PULLER
"""What everybody may do in a public project, and anyone signed in where visibility says so."""


def parse_role_actions(names: Iterable[str]) -> frozenset[Action]:
    """Action names as a custom role holds them. Raises InvalidName with the ones it may hold."""
    known = {action.value: action for action in PROJECT_ACTIONS}
    wanted = list(names)
    unknown = sorted(set(wanted) - set(known))
    if unknown or not wanted:
        raise InvalidName(
            f"a role holds actions; {', '.join(unknown) or 'none'} given",
            hint="actions: " + ", ".join(sorted(known)),
        )
    return frozenset(known[name] for name in wanted)


_TAGGING: Final = frozenset({Action.CREATE_TAG, Action.OVERWRITE_TAG})


def with_implied(actions: frozenset[Action]) -> frozenset[Action]:
    """What a token narrowed to these actions keeps: whoever pulls may see, whoever pushes may pull and tag.

    Naming `create-tag` or `overwrite-tag` beside `push` keeps only the one named.
    """
    implied = set(actions)
    if Action.PUSH in implied:
        implied |= {Action.PULL, Action.CREATE_REPOSITORY, Action.CREATE_PROJECT}
        if not implied & _TAGGING:
            implied |= _TAGGING
    if Action.PULL in implied:
        implied.add(Action.READ)
    return frozenset(implied)
