"""Names of users, robots, teams, roles and projects. Parsed at the edge; inside they are right."""

from __future__ import annotations

import re
from typing import Final

from entrepot.server.access.decision.errors import InvalidName

__all__ = ["parse_project_name", "parse_robot_name", "parse_short_name", "parse_user_name"]

_USER: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,126}[a-z0-9])?\Z")
_SHORT: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?\Z")
_PROJECT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")


def parse_user_name(text: str) -> str:
    """Lower case; may look like an e-mail address. Raises InvalidName."""
    name = text.strip().lower()
    if not _USER.match(name):
        raise InvalidName(f"user name {text!r} is not valid", hint="use letters, digits, and . _ - @ inside")
    return name


def parse_robot_name(text: str) -> tuple[str | None, str]:
    """`acme+ci` → ("acme", "ci"); `+ci` → (None, "ci"), a robot of the registry. Raises InvalidName."""
    project, plus, name = text.strip().lower().partition("+")
    if not plus:
        raise InvalidName(f"robot name {text!r} is not valid", hint="write PROJECT+NAME, as in acme+ci")
    return parse_project_name(project) if project else None, parse_short_name(name, "robot")


def parse_short_name(text: str, what: str) -> str:
    """A team's, role's, robot's or sign-in source's name. Raises InvalidName."""
    name = text.strip().lower()
    if not _SHORT.match(name):
        raise InvalidName(f"{what} name {text!r} is not valid", hint="use letters, digits, and . _ - inside")
    return name


def parse_project_name(text: str) -> str:
    """One component of a repository name. Raises InvalidName."""
    if len(text) > 128 or not _PROJECT.match(text):
        raise InvalidName(
            f"project name {text!r} is not valid",
            hint="use lower-case letters and digits, with single . _ or - between them",
        )
    return text
