"""What can be wrong with the settings."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import InvalidInput


class ConfigInvalid(InvalidInput):
    """A setting that is unknown, of the wrong kind, or contradicts another. `problems` lists them all."""

    code: ClassVar[str] = "config-invalid"

    def __init__(self, problems: list[str], *, hint: str | None = None) -> None:
        super().__init__("; ".join(problems), hint=hint)
        self.problems = tuple(problems)
