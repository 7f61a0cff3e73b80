"""Names in a layer, split into components that stay below the root. Pure."""

from __future__ import annotations

from entrepot.layers.errors import LayerLimitExceeded, UnsafePath
from entrepot.layers.limits import DEFAULT_LIMITS, UnpackLimits

Path = tuple[bytes, ...]
"""Components from the root of the tree; empty is the root itself."""


def parse_path(name: bytes, limits: UnpackLimits = DEFAULT_LIMITS) -> Path:
    """Components of an entry's name. A leading `/` and `.` mean nothing; raises UnsafePath for `..`.

    `..` is refused and not resolved: after `a/..`, programs disagree when `a` is a symlink.
    """
    parts = name.split(b"/")
    if len(name) > limits.max_name_bytes:
        for part in parts:
            if len(part) > limits.max_name_bytes:
                raise LayerLimitExceeded(f"entry {name[:80]!r}… has a component of {len(part)} bytes")
    if b"" in parts or b"." in parts:
        parts = [part for part in parts if part not in (b"", b".")]
    if b".." in parts:
        raise UnsafePath(
            f"entry {name!r} has '..' in its name",
            hint="the layer was made by hand or to do harm; it is not unpacked",
        )
    if b"\0" in name:
        raise UnsafePath(f"entry {name!r} has a NUL byte in its name")
    if len(parts) > limits.max_depth:
        raise LayerLimitExceeded(f"entry {name[:80]!r}… is more than {limits.max_depth} directories deep")
    return tuple(parts)


def link_parts(target: bytes) -> tuple[bool, list[bytes]]:
    """Whether a symlink's text is absolute, and its components; `..` stays, `.` and empty ones go."""
    return target.startswith(b"/"), [part for part in target.split(b"/") if part not in (b"", b".")]


def join(path: Path) -> bytes:
    """The name as tar writes it: no leading `/` or `./`."""
    return b"/".join(path)
