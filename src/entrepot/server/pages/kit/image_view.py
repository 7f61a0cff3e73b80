"""An image as its page shows it: platforms, layers with the command that made each, configuration. Pure.

What comes from an image is somebody else's text: it is taken as strings, and only ever shown as text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from entrepot.server.control.foreign import clean_text, read_object, short_text
from entrepot.server.control.images import layers_of
from entrepot.server.control.manifests import ManifestRow, platforms_of
from entrepot.server.pages.kit.words import short_digest

__all__ = [
    "MAX_ENTRIES",
    "ConfigView",
    "LayerView",
    "PageChoice",
    "choices_of",
    "command_of",
    "config_view",
    "layer_views",
    "pretty",
]

_NOP: Final = "/bin/sh -c #(nop)"
_SHELLS: Final = ("/bin/sh -c ", "RUN /bin/sh -c ")
_BUILDKIT: Final = "# buildkit"
MAX_ENTRIES: Final = 200
_EMPTY_GZIP: Final = 32


@dataclass(frozen=True, slots=True)
class PageChoice:
    """One manifest of an index."""

    digest: str
    platform: str
    key: str
    """What chooses it: the platform, or the digest where several have the same."""
    is_attestation: bool


@dataclass(frozen=True, slots=True)
class LayerView:
    """One layer, from the bottom up. `instruction` is the word a Dockerfile would begin with."""

    number: int
    digest: str
    size: int
    media_type: str
    instruction: str
    command: str
    start: float
    """Share of the image's bytes that are below this layer, in percent."""
    width: float


@dataclass(frozen=True, slots=True)
class ConfigView:
    """What `docker inspect` would tell."""

    platform: str
    created: str
    rows: list[tuple[str, list[str]]]
    """Name and values, in the order people ask for them."""
    env: list[tuple[str, str]]
    labels: list[tuple[str, str]]


def choices_of(row: ManifestRow) -> list[PageChoice]:
    """Manifests of an index in their order; none for an image."""
    listed = platforms_of(row.body)[:MAX_ENTRIES]
    times = Counter(platform for _digest, platform, _size, _kind in listed)
    versions = _os_versions(row.body) if any(n > 1 for name, n in times.items() if name) else {}
    found = []
    for digest, platform, _size, _kind in listed:
        if platform is None:
            found.append(PageChoice(digest, "unknown", digest, is_attestation=True))
        elif times[platform] == 1:
            found.append(PageChoice(digest, platform, platform, is_attestation=False))
        else:
            text = f"{platform} {versions.get(digest) or short_digest(digest)}"
            found.append(PageChoice(digest, text, digest, is_attestation=False))
    return found


def _os_versions(body: bytes) -> dict[str, str]:
    """By digest: what tells images of several Windows versions apart."""
    children = read_object(body).get("manifests")
    platforms = {
        child["digest"]: child.get("platform")
        for child in (children if isinstance(children, list) else [])
        if isinstance(child, dict) and isinstance(child.get("digest"), str)
    }
    return {
        digest: short_text(platform["os.version"])
        for digest, platform in platforms.items()
        if isinstance(platform, Mapping) and platform.get("os.version")
    }


def command_of(text: str | None) -> tuple[str, str]:
    """A history entry as (instruction, rest), with what builders write around it taken off."""
    if not text:
        return "", ""
    plain = short_text(text.strip()).removesuffix(_BUILDKIT).rstrip()
    if plain.startswith(_NOP):
        word, _, rest = plain.removeprefix(_NOP).lstrip().partition(" ")
        return word.upper()[:12], rest.strip()
    for shell in _SHELLS:
        if plain.startswith(shell):
            return "RUN", plain.removeprefix(shell).strip()
    word, _, rest = plain.partition(" ")
    if word.isupper() and word.isalpha() and len(word) <= 12:
        return word, rest.strip()
    return "", plain


def layer_views(body: bytes, config: dict[str, Any] | None) -> list[LayerView]:
    """With where each one's bytes are in the whole."""
    layers = layers_of(body, config)
    total = sum(layer.size for layer in layers)
    below, views = 0, []
    for number, layer in enumerate(layers, 1):
        instruction, command = command_of(layer.command)
        views.append(
            LayerView(
                number=number,
                digest=layer.digest,
                size=layer.size,
                media_type=layer.media_type,
                instruction=instruction,
                command=command,
                start=100 * below / total if total else 0.0,
                width=100 * layer.size / total if total else 0.0,
            )
        )
        below += layer.size
    return views


def config_view(config: dict[str, Any]) -> ConfigView:
    inner = config.get("config")
    inner = inner if isinstance(inner, Mapping) else {}
    rows = [
        ("Entrypoint", _words(inner.get("Entrypoint"))),
        ("Command", _words(inner.get("Cmd"))),
        ("Working directory", _text(inner.get("WorkingDir"))),
        ("User", _text(inner.get("User"))),
        ("Ports", _keys(inner.get("ExposedPorts"))),
        ("Volumes", _keys(inner.get("Volumes"))),
        ("Stop signal", _text(inner.get("StopSignal"))),
        ("Health check", _words(_get(inner.get("Healthcheck"), "Test"))),
        ("Author", _text(config.get("author"))),
    ]
    parts = [config.get("os"), config.get("architecture"), config.get("variant")]
    env = inner.get("Env")
    labels = inner.get("Labels")
    return ConfigView(
        platform="/".join(short_text(part) for part in parts if part),
        created=short_text(config.get("created")),
        rows=[(name, values) for name, values in rows if values],
        env=[
            (name, value)
            for name, _, value in (
                short_text(item).partition("=")
                for item in (env if isinstance(env, list) else [])[:MAX_ENTRIES]
            )
        ],
        labels=[(short_text(k), short_text(v)) for k, v in sorted(labels.items(), key=str)[:MAX_ENTRIES]]
        if isinstance(labels, Mapping)
        else [],
    )


def pretty(body: bytes, *, longest: int = 200_000) -> str:
    """JSON with its lines indented; as it is when it is none, or long."""
    text = clean_text(body[:longest].decode("utf-8", "replace"))
    if len(body) > longest:
        return text + "\n…"
    try:
        return clean_text(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        return text


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [short_text(value)] if value else []
    if not isinstance(value, list) or not value:
        return []
    return [short_text(" ".join(_quoted(short_text(word)) for word in value[:MAX_ENTRIES]))]


def _quoted(word: str) -> str:
    return word if word and not re.search(r"[\s\"'$]", word) else json.dumps(word, ensure_ascii=False)


def _text(value: Any) -> list[str]:
    return [short_text(value)] if value else []


def _keys(value: Any) -> list[str]:
    return [short_text(key) for key in sorted(value)[:MAX_ENTRIES]] if isinstance(value, Mapping) else []


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
