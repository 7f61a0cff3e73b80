"""A form as it was sent: what was typed, and what is wrong with which field.

A page shows the same form again with every value kept and the words beside the field they are about.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from entrepot.errors import EntrepotError, Unavailable

__all__ = ["PageForm", "is_confirmed"]

_UNITS: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10}
_UNITS_BINARY: Final = {"mib": 2**20, "gib": 2**30, "tib": 2**40}
_MAX_SIZE: Final = 2**62


class PageForm:
    """Values by field. A fresh one, without data, is what an empty page shows."""

    def __init__(self, data: Mapping[str, list[str]] | None = None, /, **defaults: str) -> None:
        self._values: dict[str, list[str]] = {name: [value] for name, value in defaults.items()}
        self._values.update(data or {})
        self.errors: dict[str, str] = {}
        self.problem: str = ""
        """What is wrong with no field in particular."""
        self.unavailable: Unavailable | None = None
        """Nothing is wrong with what was typed, but it could not be done now."""

    def __getitem__(self, name: str) -> str:
        values = self._values.get(name)
        return values[0] if values else ""

    @property
    def is_good(self) -> bool:
        return not self.errors and not self.problem

    def refuse(self, name: str, message: str) -> None:
        """The first complaint about a field stays."""
        self.errors.setdefault(name, message)

    def blame(self, error: EntrepotError, fields: Mapping[type[EntrepotError], str] | str = "") -> None:
        """Put a service's refusal beside the field it is about; beside none when that is not known, or when
        the same form may be taken later.
        """
        if isinstance(error, Unavailable):
            self.unavailable = error
            fields = ""
        words = f"{error.message}. {_sentence(error.hint)}" if error.hint else f"{error.message}."
        words = words[:1].upper() + words[1:]
        name = (
            fields
            if isinstance(fields, str)
            else next((field for kind, field in fields.items() if isinstance(error, kind)), "")
        )
        if name:
            self.refuse(name, words)
        else:
            self.problem = self.problem or words

    def text(self, name: str, *, required: str = "", longest: int = 1000) -> str:
        """Without surrounding white space. `required` is what to say when there is nothing."""
        value = self[name].strip()
        if required and not value:
            self.refuse(name, required)
        if len(value) > longest:
            self.refuse(name, f"This has {len(value)} characters; at most {longest} fit.")
        return value

    def secret(self, name: str, *, required: str) -> str:
        """As it was typed, white space included."""
        value = self[name]
        if not value:
            self.refuse(name, required)
        return value[:1025]

    def body(self, name: str, *, longest: int) -> str:
        """Several lines, with the line ends of Unix."""
        value = self[name].replace("\r\n", "\n")
        if len(value) > longest:
            self.refuse(name, f"This has {len(value):,} characters; at most {longest:,} fit.")
        return value

    def flag(self, name: str) -> bool:
        return bool(self[name])

    def many(self, name: str) -> list[str]:
        return list(self._values.get(name, ()))

    def choice(self, name: str, among: tuple[str, ...]) -> str:
        """One of `among`; anything else is not what our page offered."""
        value = self[name]
        if value not in among:
            self.refuse(name, "Choose one of these.")
            return among[0]
        return value

    def size(self, name: str) -> int | None:
        """`500 MB`, `20GiB`, a number of bytes; nothing is None."""
        text = self[name].strip().lower().replace(" ", "").replace(",", "")
        if not text:
            return None
        number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = (_UNITS | _UNITS_BINARY).get(text[len(number) :])
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if unit is None or not 0 <= value * unit <= _MAX_SIZE:
            self.refuse(name, "Write a size such as 500 MB or 20 GB, or leave it empty for no limit.")
            return None
        return round(value * unit)

    def expiry(self, name: str, *, now: int) -> int | None:
        """The end of a day (UTC) in microseconds; nothing is None, a day that is over is refused."""
        text = self[name].strip()
        if not text:
            return None
        try:
            last_day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            self.refuse(name, "Write a date as 2026-12-31, or leave it empty.")
            return None
        moment = int((last_day + timedelta(days=1)).timestamp()) * 1_000_000
        if moment <= now:
            self.refuse(name, "That day is over; choose a later one.")
        return moment


def is_confirmed(form: PageForm, name: str) -> bool:
    """Whether the name of what is to be deleted was typed; says so beside the field when it was not."""
    if form.text("confirm") != name:
        form.refuse("confirm", f"Type {name} to delete it.")
    return form.is_good


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
