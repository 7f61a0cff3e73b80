"""Fields of JSON documents that strangers made, with the place named in what is wrong.

The documents are protobuf's JSON: numbers may be texts, bytes are base64, an enum is a name or its number.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from entrepot.errors import EntrepotError
from entrepot.oci.strictjson import InvalidJson, loads_object
from entrepot.signing.errors import UnreadableSignature

MAX_DEPTH = 64
MAX_ELEMENTS = 2_000_000
"""A bill of materials of a big image has several hundred thousand."""


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object. `refusal` is the class of error that everything wrong in it becomes."""

    values: dict[str, Any]
    where: str
    refusal: type[EntrepotError] = UnreadableSignature

    @classmethod
    def parse(cls, raw: bytes, where: str, refusal: type[EntrepotError] = UnreadableSignature) -> Fields:
        try:
            values = loads_object(raw, max_depth=MAX_DEPTH, max_elements=MAX_ELEMENTS)
        except InvalidJson as error:
            raise refusal(f"{where}: {error.message}") from error
        return cls(values, where, refusal)

    def has(self, key: str) -> bool:
        return self.values.get(key) is not None

    def wrong(self, key: str, what: str) -> EntrepotError:
        return self.refusal(f"{self.where}: {key} {what}")

    def object(self, key: str) -> Fields:
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "is missing" if value is None else "is not an object")
        return Fields(value, f"{self.where}: {key}", self.refusal)

    def objects(self, key: str) -> list[Fields]:
        """Empty when the field is not there."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.wrong(key, "is not a list of objects")
        return [Fields(one, f"{self.where}: {key}[{at}]", self.refusal) for at, one in enumerate(value)]

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "is missing" if value in (None, "") else "is not text")
        return value

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.values.get(key) not in (None, "") else None

    def number(self, key: str) -> int:
        """Proto3 leaves out zero, so a missing number is 0."""
        value = self.values.get(key, 0)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
            return int(value)
        if type(value) is int and value >= 0:
            return value
        raise self.wrong(key, "is not a whole number")

    def data(self, key: str) -> bytes:
        """Bytes written in base64. Raises when there are none."""
        return decode_base64(self.text(key), f"{self.where}: {key}", self.refusal)

    def datas(self, key: str) -> list[bytes]:
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.wrong(key, "is not a list of texts")
        return [decode_base64(one, f"{self.where}: {key}", self.refusal) for one in value]


def decode_base64(text: str, where: str, refusal: type[EntrepotError] = UnreadableSignature) -> bytes:
    """Strictly: no white space, no other characters; padded or not is the same to protobuf."""
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise refusal(f"{where} is not base64") from error
