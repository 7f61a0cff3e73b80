"""What a policy file is refused for."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import InvalidInput

__all__ = ["InvalidPolicy"]


class InvalidPolicy(InvalidInput):
    """A policy that can't be read. `where` names the setting, as `retention 2, keep 1, newest`; nothing of
    the policy is used.
    """

    code: ClassVar[str] = "invalid-policy"

    def __init__(self, where: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{where}: {problem}" if where else problem, hint=hint)
        self.where = where
