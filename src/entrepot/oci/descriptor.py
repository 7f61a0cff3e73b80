"""Descriptors: type, digest and size of content held elsewhere (image-spec: Content Descriptors)."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from entrepot.errors import InvalidInput
from entrepot.oci import mediatype
from entrepot.oci.digest import Digest, InvalidDigest
from entrepot.oci.platform import Platform
from entrepot.oci.strictjson import InvalidJson, check_spelling, spelling_table

MAX_SIZE: Final = 2**63 - 1
NO_ANNOTATIONS: Final[Mapping[str, str]] = MappingProxyType({})


_FIELDS: Final = spelling_table(
    "mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform"
)
_PLATFORM_FIELDS: Final = spelling_table(
    "os", "architecture", "variant", "os.version", "os.features", "features"
)


class InvalidDescriptor(InvalidInput):
    """A descriptor lacks a field or holds one of the wrong type."""

    code = "invalid-descriptor"


class Descriptor(Struct, frozen=True):
    """Equal when all is equal; hashable. Fields nobody knows stay in the raw document they came from."""

    media_type: str
    digest: Digest
    size: int  # bytes
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = NO_ANNOTATIONS
    data: bytes | None = None  # the content itself, already checked
    artifact_type: str | None = None
    platform: Platform | None = None

    def __hash__(self) -> int:
        return hash((self.digest, self.media_type))

    @classmethod
    def from_json(cls, obj: object, where: str = "descriptor") -> Descriptor:
        """`where` names the place in messages. Raises InvalidDescriptor."""
        if not isinstance(obj, dict):
            raise InvalidDescriptor(f"{where}: not an object")
        try:
            check_spelling(obj, _FIELDS, where)
        except InvalidJson as error:
            raise InvalidDescriptor(error.message) from error
        media_type = parse_media_type(obj.get("mediaType"), f"{where}: mediaType")
        if media_type is None:
            raise InvalidDescriptor(f"{where}: mediaType is missing")
        digest, size = _parse_digest(obj.get("digest"), where), _parse_size(obj.get("size"), where)
        return cls(
            media_type=media_type,
            digest=digest,
            size=size,
            urls=parse_texts(obj.get("urls"), f"{where}: urls"),
            annotations=parse_annotations(obj.get("annotations"), where),
            data=_parse_data(obj.get("data"), digest, size, where),
            artifact_type=parse_media_type(obj.get("artifactType"), f"{where}: artifactType"),
            platform=_parse_platform(obj.get("platform"), where),
        )

    def to_json(self) -> dict[str, Any]:
        """Set fields only, in the specification's order."""
        result: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.urls:
            result["urls"] = list(self.urls)
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        if self.data is not None:
            result["data"] = binascii.b2a_base64(self.data, newline=False).decode("ascii")
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        if self.platform is not None:
            result["platform"] = self.platform.to_json()
        return result


def parse_annotations(value: object, where: str) -> Mapping[str, str]:
    """Raises InvalidDescriptor."""
    if value is None:
        return NO_ANNOTATIONS
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidDescriptor(f"{where}: annotations must map text to text")
    return MappingProxyType(value) if value else NO_ANNOTATIONS


def parse_texts(value: object, where: str) -> tuple[str, ...]:
    """Raises InvalidDescriptor."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidDescriptor(f"{where} must be a list of texts")
    return tuple(value)


def parse_optional_text(value: object, where: str) -> str | None:
    """Raises InvalidDescriptor."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidDescriptor(f"{where} must be text")
    return value


def parse_media_type(value: object, where: str) -> str | None:
    """Of content, or an artifact; None when it is not said. Raises InvalidDescriptor."""
    text = parse_optional_text(value, where)
    if text is not None and not mediatype.is_writable(text):
        raise InvalidDescriptor(f"{where} must be at most {mediatype.MAX_LENGTH} printable ASCII characters")
    return text


def _parse_digest(value: object, where: str) -> Digest:
    if not isinstance(value, str):
        raise InvalidDescriptor(f"{where}: digest is missing")
    try:
        return Digest.parse(value)
    except InvalidDigest as error:
        raise InvalidDescriptor(f"{where}: {error.message}", hint=error.hint) from error


def _parse_size(value: object, where: str) -> int:
    if type(value) is not int:  # True is an int to Python, and to nobody else
        raise InvalidDescriptor(f"{where}: size must be a whole number")
    if not 0 <= value <= MAX_SIZE:
        raise InvalidDescriptor(f"{where}: size {value} is out of range")
    return value


def _parse_data(value: object, digest: Digest, size: int, where: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidDescriptor(f"{where}: data must be base64 text")
    try:
        data = binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidDescriptor(f"{where}: data must be base64 text") from error
    if len(data) != size or Digest.of(data, digest.algorithm) != digest:
        raise InvalidDescriptor(f"{where}: data is not the content its digest and size describe")
    return data


def _parse_platform(value: object, where: str) -> Platform | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidDescriptor(f"{where}: platform must be an object")
    try:
        check_spelling(value, _PLATFORM_FIELDS, f"{where}: platform")
    except InvalidJson as error:
        raise InvalidDescriptor(error.message) from error
    for key in ("os", "architecture", "variant", "os.version"):
        parse_optional_text(value.get(key), f"{where}: platform {key}")
    parse_texts(value.get("os.features"), f"{where}: platform os.features")
    return Platform.from_json(value)
