"""Image configs: how to run an image and which file trees it is made of (image-spec: Image Configuration).

The config's digest is the image ID. `ImageConfig` reads docker's and OCI's spelling; changing one
makes new bytes and keeps every field this program doesn't know.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from entrepot.errors import InvalidInput
from entrepot.oci import strictjson
from entrepot.oci.digest import Digest, InvalidDigest
from entrepot.oci.platform import Platform

MAX_BYTES: Final = 8 * 1024 * 1024

_FIELDS: Final = strictjson.spelling_table("rootfs", "config", "history", "os", "architecture")


class InvalidImageConfig(InvalidInput):
    """The bytes are not an image config."""

    code = "invalid-image-config"


class HistoryEntry(msgspec.Struct, frozen=True):
    """How a layer came about; an entry with `empty_layer` changed the config only."""

    created: str | None = None  # RFC 3339
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if self.created is not None:
            result["created"] = self.created
        for key in ("created_by", "author", "comment"):
            if getattr(self, key):
                result[key] = getattr(self, key)
        if self.empty_layer:
            result["empty_layer"] = True
        return result


class ImageConfig:
    """A parsed view beside the raw bytes. Never changes; `with_changes` makes another."""

    __slots__ = ("_document", "diff_ids", "history", "raw")

    raw: bytes
    diff_ids: tuple[Digest, ...]  # digests of the uncompressed layers, base first
    history: tuple[HistoryEntry, ...]

    def __init__(self, raw: bytes, document: dict[str, Any]) -> None:
        self.raw = raw
        self._document = document
        self.diff_ids = _parse_diff_ids(document)
        self.history = _parse_history(document)
        _check_types(document)

    @classmethod
    def parse(cls, raw: bytes) -> ImageConfig:
        """Raises InvalidImageConfig, and nothing else, whatever the bytes."""
        if len(raw) > MAX_BYTES:
            raise InvalidImageConfig(f"image config has {len(raw)} bytes; the limit is {MAX_BYTES}")
        try:
            document = strictjson.loads_object(raw)
            strictjson.check_spelling(document, _FIELDS, "image config")
        except strictjson.InvalidJson as error:
            raise InvalidImageConfig(f"image config: {error.message}") from error
        return cls(raw, document)

    @classmethod
    def build(cls, document: Mapping[str, Any]) -> ImageConfig:
        """From a JSON document; the same document gives the same bytes."""
        return cls.parse(msgspec.json.encode(dict(document)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageConfig) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"ImageConfig({self.digest.short}, {self.platform})"

    @property
    def digest(self) -> Digest:
        """The image ID."""
        return Digest.of(self.raw)

    @property
    def document(self) -> dict[str, Any]:
        """A copy of the whole parsed JSON."""
        return copy.deepcopy(self._document)

    @property
    def platform(self) -> Platform:
        return Platform.from_json(self._document)

    @property
    def created(self) -> str | None:
        """RFC 3339, as written."""
        return self._document.get("created") or None

    @property
    def author(self) -> str:
        return self._document.get("author") or ""

    @property
    def runtime(self) -> Mapping[str, Any]:
        """The `config` object: what a container starts with."""
        return MappingProxyType(self._document.get("config") or {})

    @property
    def env(self) -> tuple[str, ...]:
        return tuple(self.runtime.get("Env") or ())

    @property
    def entrypoint(self) -> tuple[str, ...] | None:
        """None when not set."""
        return _optional_tuple(self.runtime.get("Entrypoint"))

    @property
    def cmd(self) -> tuple[str, ...] | None:
        """None when not set."""
        return _optional_tuple(self.runtime.get("Cmd"))

    @property
    def working_dir(self) -> str:
        return self.runtime.get("WorkingDir") or ""

    @property
    def user(self) -> str:
        return self.runtime.get("User") or ""

    @property
    def labels(self) -> Mapping[str, str]:
        return MappingProxyType(self.runtime.get("Labels") or {})

    @property
    def exposed_ports(self) -> tuple[str, ...]:
        return tuple(self.runtime.get("ExposedPorts") or ())

    @property
    def volumes(self) -> tuple[str, ...]:
        return tuple(self.runtime.get("Volumes") or ())

    @property
    def stop_signal(self) -> str:
        return self.runtime.get("StopSignal") or ""

    @property
    def healthcheck(self) -> Mapping[str, Any] | None:
        """As docker writes it; durations in nanoseconds."""
        value = self.runtime.get("Healthcheck")
        return None if value is None else MappingProxyType(value)

    @property
    def onbuild(self) -> tuple[str, ...]:
        return tuple(self.runtime.get("OnBuild") or ())

    @property
    def shell(self) -> tuple[str, ...] | None:
        return _optional_tuple(self.runtime.get("Shell"))

    def with_changes(
        self,
        *,
        runtime: Mapping[str, Any] | None = None,
        diff_ids: Sequence[Digest] | None = None,
        history: Sequence[HistoryEntry] | None = None,
        created: str | None = None,
        author: str | None = None,
        platform: Platform | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> ImageConfig:
        """A new config with new bytes; what isn't named stays, known to this program or not.

        `runtime` replaces keys of the `config` object (`{"Cmd": [...]}`; None removes a key);
        `diff_ids` and `history` replace the whole list; `extra` replaces fields at the top
        (None removes one).
        """
        document = self.document
        if runtime is not None:
            document["config"] = _merged(document.get("config") or {}, runtime)
        if diff_ids is not None:
            document["rootfs"] = {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]}
        if history is not None:
            document["history"] = [entry.to_json() for entry in history]
        if created is not None:
            document["created"] = created
        if author is not None:
            document["author"] = author
        if platform is not None:
            for key in ("variant", "os.version", "os.features"):
                document.pop(key, None)
            document.update(platform.to_json())
        return ImageConfig.build(_merged(document, extra or {}))


def chain_ids(diff_ids: Sequence[Digest]) -> tuple[Digest, ...]:
    """For each layer the name of the tree it and everything below it make (image-spec: Layer ChainID)."""
    result: list[Digest] = []
    for diff_id in diff_ids:
        if not result:
            result.append(diff_id)
        else:
            text = f"{result[-1]} {diff_id}".encode()
            result.append(Digest.of(text))
    return tuple(result)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**base, **changes}
    return {key: value for key, value in merged.items() if value is not None or key not in changes}


def _optional_tuple(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _parse_diff_ids(document: dict[str, Any]) -> tuple[Digest, ...]:
    rootfs = document.get("rootfs")
    if rootfs is None:
        return ()
    values = rootfs.get("diff_ids") if isinstance(rootfs, dict) else rootfs
    if values is None:
        return ()
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidImageConfig("image config: rootfs.diff_ids must be a list of digests")
    try:
        return tuple(Digest.parse(value) for value in values)
    except InvalidDigest as error:
        raise InvalidImageConfig(f"image config: rootfs.diff_ids: {error.message}") from error


def _parse_history(document: dict[str, Any]) -> tuple[HistoryEntry, ...]:
    values = document.get("history")
    if values is None:
        return ()
    if not isinstance(values, list):
        raise InvalidImageConfig("image config: history must be a list")
    return tuple(_parse_history_entry(value) for value in values)


def _parse_history_entry(value: object) -> HistoryEntry:
    if not isinstance(value, dict):
        raise InvalidImageConfig("image config: history must be a list of objects")
    texts = {key: value.get(key) or "" for key in ("created", "created_by", "author", "comment")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise InvalidImageConfig("image config: history fields must be text")
    return HistoryEntry(
        created=texts["created"] or None,
        created_by=texts["created_by"],
        author=texts["author"],
        comment=texts["comment"],
        empty_layer=value.get("empty_layer") is True,
    )


_TEXTS: Final = ("WorkingDir", "User", "StopSignal")
_LISTS: Final = ("Env", "Entrypoint", "Cmd", "OnBuild", "Shell")
_SETS: Final = ("ExposedPorts", "Volumes", "Labels", "Healthcheck")


def _check_types(document: dict[str, Any]) -> None:
    """So that properties can't fail later, far from the bytes that are wrong."""
    for key in ("os", "architecture", "variant", "os.version", "created", "author"):
        _check(isinstance(document.get(key) or "", str), key, "text")
    _check(_is_text_list(document.get("os.features") or []), "os.features", "a list of texts")
    runtime = document.get("config") or {}
    _check(isinstance(runtime, dict), "config", "an object")
    for key in _TEXTS:
        _check(isinstance(runtime.get(key) or "", str), f"config.{key}", "text")
    for key in _LISTS:
        _check(_is_text_list(runtime.get(key) or []), f"config.{key}", "a list of texts")
    for key in _SETS:
        _check(isinstance(runtime.get(key) or {}, dict), f"config.{key}", "an object")
    labels = runtime.get("Labels") or {}
    _check(all(isinstance(value, str) for value in labels.values()), "config.Labels", "text to text")


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _check(holds: bool, where: str, what: str) -> None:
    if not holds:
        raise InvalidImageConfig(f"image config: {where} must be {what}")
