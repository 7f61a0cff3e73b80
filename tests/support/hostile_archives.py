"""Layers made to reach out of the directory they are unpacked into, and what has to come of each.

`outside` stands beside the target directory; `{outside}` in these archives is its absolute path. Run as a
script it
writes the corpus to a directory: `python -m tests.support.hostile_archives DIRECTORY`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.tarballs import (
    archive,
    directory,
    file,
    gnu_long,
    hard_link,
    header,
    pax,
    symlink,
)

REFUSED = "refused"
CONTAINED = "contained"
"""Unpacked, with everything inside of the target."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """Layers, applied in order, the last of which is the attack."""

    name: str
    outcome: str
    layers: Callable[[bytes], Sequence[bytes]]
    """Made for the absolute path of `outside`."""
    inside: tuple[str, ...] = ()
    """Paths that are there afterwards, below the target."""


def _fixed(*layers: bytes) -> Callable[[bytes], Sequence[bytes]]:
    return lambda _: layers


HOSTILE: tuple[Hostile, ...] = (
    Hostile("dotdot-name", REFUSED, _fixed(archive(file(b"../outside/secret", b"x")))),
    Hostile("dotdot-inside", REFUSED, _fixed(archive(file(b"a/../../outside/secret", b"x")))),
    Hostile(
        "dotdot-in-pax-path",
        REFUSED,
        _fixed(archive(pax({b"path": b"../outside/secret"}), file(b"ok", b"x"))),
    ),
    Hostile(
        "dotdot-in-gnu-name", REFUSED, _fixed(archive(gnu_long(b"../outside/secret"), file(b"ok", b"x")))
    ),
    Hostile("absolute-name", CONTAINED, lambda o: [archive(file(o + b"/secret", b"x"))]),
    Hostile(
        "symlink-then-file-through-it",
        CONTAINED,
        lambda o: [archive(symlink(b"link", o), file(b"link/secret", b"x"))],
    ),
    Hostile(
        "relative-symlink-then-file-through-it",
        CONTAINED,
        _fixed(archive(symlink(b"link", b"../outside"), file(b"link/secret", b"x"))),
        inside=("outside/secret",),
    ),
    Hostile(
        "symlink-from-an-earlier-layer",
        CONTAINED,
        lambda o: [archive(symlink(b"link", o)), archive(file(b"link/secret", b"x"))],
    ),
    Hostile(
        "chain-of-symlinks",
        CONTAINED,
        _fixed(
            archive(
                symlink(b"a", b".."),
                symlink(b"b", b"a/.."),
                symlink(b"c", b"b/../outside"),
                file(b"c/secret", b"x"),
            )
        ),
        inside=("outside/secret",),
    ),
    Hostile(
        "symlink-loop", REFUSED, _fixed(archive(symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x", b"x")))
    ),
    Hostile(
        "file-over-a-symlink-to-outside",
        CONTAINED,
        lambda o: [archive(symlink(b"link", o + b"/secret")), archive(file(b"link", b"mine"))],
        inside=("link",),
    ),
    Hostile(
        "directory-over-a-symlink-to-outside",
        CONTAINED,
        lambda o: [
            archive(symlink(b"link", o)),
            archive(directory(b"link", 0o777), file(b"link/secret", b"x")),
        ],
        inside=("link/secret",),
    ),
    Hostile(
        "hard-link-to-outside-by-absolute-name",
        REFUSED,
        lambda o: [archive(hard_link(b"stolen", o + b"/secret"))],
    ),
    Hostile(
        "hard-link-to-outside-by-dotdot", REFUSED, _fixed(archive(hard_link(b"stolen", b"../outside/secret")))
    ),
    Hostile(
        "hard-link-through-a-symlink-then-written",
        REFUSED,
        lambda o: [archive(symlink(b"link", o), hard_link(b"stolen", b"link/secret"), file(b"stolen", b"x"))],
    ),
    Hostile(
        "hard-link-to-a-symlink-then-written",
        CONTAINED,
        lambda o: [
            archive(symlink(b"link", o + b"/secret"), hard_link(b"second", b"link"), file(b"second", b"mine"))
        ],
        inside=("second",),
    ),
    Hostile(
        "hard-link-to-a-directory",
        REFUSED,
        _fixed(archive(directory(b"d"), hard_link(b"e", b"d"))),
    ),
    Hostile(
        "whiteout-through-a-symlink",
        CONTAINED,
        lambda o: [archive(symlink(b"link", o)), archive(file(b"link/.wh.secret"))],
    ),
    Hostile(
        "opaque-through-a-symlink",
        CONTAINED,
        lambda o: [archive(symlink(b"link", o)), archive(file(b"link/.wh..wh..opq"))],
    ),
    Hostile("whiteout-of-the-parent", REFUSED, _fixed(archive(directory(b"d"), file(b"d/.wh...")))),
    Hostile("whiteout-of-itself", REFUSED, _fixed(archive(directory(b"d"), file(b"d/.wh..")))),
    Hostile("bare-whiteout", REFUSED, _fixed(archive(directory(b"d"), file(b"d/.wh.")))),
    Hostile("whiteout-with-dotdot", REFUSED, _fixed(archive(file(b".wh.x/../../outside/secret")))),
    Hostile(
        "opaque-root",
        CONTAINED,
        _fixed(archive(file(b"a", b"x")), archive(file(b".wh..wh..opq"), file(b"b", b"x"))),
        inside=("b",),
    ),
    Hostile("root-as-a-symlink", REFUSED, lambda o: [archive(symlink(b"/.", o), file(b"secret", b"x"))]),
    Hostile("root-as-a-file", REFUSED, _fixed(archive(file(b"./", b""), file(b"/", b"x")))),
    Hostile(
        "type-swap-of-a-parent",
        CONTAINED,
        lambda o: [
            archive(
                directory(b"d"),
                file(b"d/a", b"x"),
                symlink(b"d", o),
                file(b"d/secret", b"x"),
                directory(b"d/e"),
            )
        ],
    ),
    Hostile(
        "type-swap-back-and-forth",
        CONTAINED,
        lambda o: [
            archive(
                directory(b"d", 0o700), symlink(b"d", o), directory(b"d", 0o711), file(b"d/secret", b"mine")
            )
        ],
        inside=("d/secret",),
    ),
    Hostile(
        "case-clash",
        CONTAINED,
        lambda o: [archive(symlink(b"Dir", o), directory(b"dir"), file(b"dir/secret", b"x"))],
        inside=("dir/secret",),
    ),
    Hostile("nul-in-pax-path", REFUSED, _fixed(archive(pax({b"path": b"a\0b"}), file(b"ok", b"x")))),
    Hostile(
        "name-longer-than-a-path",
        REFUSED,
        _fixed(archive(pax({b"path": b"a/" * 2100 + b"x"}), file(b"ok", b"x"))),
    ),
    Hostile(
        "component-longer-than-a-name",
        REFUSED,
        _fixed(archive(pax({b"path": b"a" * 300}), file(b"ok", b"x"))),
    ),
    Hostile(
        "deep-directories", REFUSED, _fixed(archive(pax({b"path": b"d/" * 400 + b"x"}), file(b"ok", b"x")))
    ),
    Hostile(
        "overlay-xattrs",
        CONTAINED,
        _fixed(
            archive(
                pax(
                    {
                        b"SCHILY.xattr.trusted.overlay.redirect": b"/../../outside",
                        b"SCHILY.xattr.trusted.overlay.opaque": b"y",
                        b"SCHILY.xattr.user.overlay.redirect": b"/../../outside",
                    }
                ),
                directory(b"d"),
            )
        ),
        inside=("d",),
    ),
    Hostile(
        "setuid-owner-and-device",
        CONTAINED,
        _fixed(
            archive(
                file(b"suid", b"x", mode=0o6755, uid=0, gid=0),
                header(b"disk", kind=b"4", device=(8, 0), mode=0o666),
                header(b"pipe", kind=b"6"),
            )
        ),
        inside=("suid", "disk", "pipe"),
    ),
    Hostile("owner-beyond-32-bits", REFUSED, _fixed(archive(pax({b"uid": b"4294967296"}), file(b"a", b"x")))),
    Hostile("file-below-a-file", REFUSED, _fixed(archive(file(b"a", b"x"), file(b"a/b", b"x")))),
)


def main(folder: Path) -> None:
    """Write every archive as `NAME.LAYER.tar`."""
    folder.mkdir(parents=True, exist_ok=True)
    for hostile in HOSTILE:
        for number, data in enumerate(hostile.layers(b"/outside")):
            (folder / f"{hostile.name}.{number}.tar").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
