"""Applying layers: image-spec's rules, and the same trees that GNU tar and the kernel's overlay make."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from entrepot.layers.apply import Applied, Form, LayerApplier
from entrepot.layers.errors import InvalidLayer
from entrepot.layers.ownership import PLAIN, Privileges
from entrepot.layers.settle import NeedsLowerLayers, settle
from entrepot.layers.tar_reader import TarReader
from entrepot.layers.union import Union, copy_tree
from tests.support import tarballs as t
from tests.support.programs import require_program, require_root
from tests.support.trees import different, link_groups, rows

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_bind_service=ep"""


def apply_flat(target: Path, *layers: bytes) -> Applied:
    target.mkdir(exist_ok=True)
    for layer in layers:
        applied = LayerApplier(target, form=Form.FLAT).apply(TarReader(iter([layer])))
    return applied


def apply_overlay(folder: Path, layers: Sequence[bytes]) -> list[Path]:
    """Unpack each layer by itself and fit it on those below; topmost first."""
    below: list[Path] = []
    for number, layer in enumerate(layers):
        target = folder / str(number)
        target.mkdir(parents=True)
        applied = LayerApplier(target, form=Form.OVERLAY).apply(TarReader(iter([layer])))
        with Union(below) as lower:
            try:
                settle(target, applied, lower)
            except NeedsLowerLayers:
                target = folder / f"{number}-again"
                target.mkdir()
                applied = LayerApplier(target, form=Form.OVERLAY, lower=lower).apply(TarReader(iter([layer])))
                settle(target, applied, lower)
        below.insert(0, target)
    return below


def merged(folder: Path, layers: Sequence[bytes]) -> Path:
    """What a union of the layers shows, copied into a directory."""
    target = folder / "merged"
    target.mkdir(parents=True)
    with Union(apply_overlay(folder / "layers", layers)) as tree:
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            copy_tree(tree.roots, fd)
        finally:
            os.close(fd)
    return target


BASE = t.archive(
    t.directory(b"etc"),
    t.file(b"etc/passwd", b"root"),
    t.file(b"etc/group", b"wheel"),
    t.directory(b"usr/", 0o751, uid=3, gid=4),
    t.directory(b"usr/lib"),
    t.file(b"usr/lib/a", b"a"),
    t.symlink(b"lib", b"usr/lib"),
    t.directory(b"d"),
    t.directory(b"d/sub"),
    t.file(b"d/sub/x", b"x"),
    t.file(b"d/y", b"y"),
)

# name: layers on top of BASE → the paths that are there, and those that are gone
CASES: dict[str, tuple[list[bytes], list[str], list[str]]] = {
    "whiteout-of-a-file": (
        [t.archive(t.directory(b"etc"), t.file(b"etc/.wh.passwd"))],
        ["etc/group"],
        ["etc/passwd"],
    ),
    "whiteout-of-a-directory": ([t.archive(t.file(b".wh.d"))], ["etc/group"], ["d"]),
    "whiteout-of-nothing": ([t.archive(t.file(b"etc/.wh.none"))], ["etc/group"], ["etc/none"]),
    "whiteout-then-new-file": (
        [t.archive(t.file(b".wh.d"), t.file(b"d", b"now a file"))],
        ["d"],
        ["d/y"],
    ),
    "new-directory-then-whiteout-of-it": (
        [t.archive(t.directory(b"d"), t.file(b"d/new", b"n"), t.file(b".wh.d"))],
        ["d/new"],
        ["d/y", "d/sub"],
    ),
    "whiteout-then-new-directory": (
        [t.archive(t.file(b".wh.d"), t.directory(b"d"), t.file(b"d/new", b"n"))],
        ["d/new"],
        ["d/y", "d/sub"],
    ),
    "opaque-first": (
        [t.archive(t.directory(b"d"), t.file(b"d/.wh..wh..opq"), t.file(b"d/new", b"n"))],
        ["d/new"],
        ["d/y", "d/sub"],
    ),
    "opaque-last": (
        [t.archive(t.directory(b"d"), t.file(b"d/new", b"n"), t.file(b"d/.wh..wh..opq"))],
        ["d/new"],
        ["d/y", "d/sub"],
    ),
    "opaque-then-lower-again": (
        [t.archive(t.file(b"d/.wh..wh..opq")), t.archive(t.file(b"d/sub/z", b"z"))],
        ["d/sub/z"],
        ["d/sub/x", "d/y"],
    ),
    "file-over-directory": ([t.archive(t.file(b"d", b"f"))], ["d"], ["d/y"]),
    "directory-over-file": ([t.archive(t.directory(b"etc/passwd"))], ["etc/passwd"], []),
    "directory-over-directory-keeps-content": ([t.archive(t.directory(b"d", 0o700))], ["d/y", "d/sub/x"], []),
    "symlink-over-directory": ([t.archive(t.symlink(b"d", b"etc"))], ["d"], []),
    "file-through-a-lower-symlink": ([t.archive(t.file(b"lib/b", b"b"))], ["usr/lib/b", "lib"], []),
    "directory-over-a-lower-symlink": (
        [t.archive(t.directory(b"lib"), t.file(b"lib/b", b"b"))],
        ["lib/b", "usr/lib/a"],
        ["usr/lib/b"],
    ),
    "hard-link-to-a-lower-file": (
        [t.archive(t.hard_link(b"etc/copy", b"etc/passwd"))],
        ["etc/copy", "etc/passwd"],
        [],
    ),
    "hard-link-in-one-layer": (
        [t.archive(t.file(b"one", b"1"), t.hard_link(b"two", b"one"))],
        ["one", "two"],
        [],
    ),
    "aufs-leftovers": (
        [t.archive(t.directory(b".wh..wh.plnk"), t.file(b".wh..wh.aufs"))],
        ["etc/group"],
        [".wh..wh.plnk", ".wh..wh.aufs"],
    ),
    "same-entry-twice": (
        [t.archive(t.file(b"etc/passwd", b"1"), t.file(b"etc/passwd", b"22"))],
        ["etc/passwd"],
        [],
    ),
    "whiteout-in-a-middle-layer": (
        [t.archive(t.file(b"etc/.wh.passwd")), t.archive(t.file(b"etc/passwd", b"new"))],
        ["etc/passwd"],
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", ["flat", "overlay"])
def test_changesets_are_applied_as_the_spec_says(case: str, form: str, tmp_path: Path) -> None:
    layers, there, gone = CASES[case]
    if form == "flat":
        target = tmp_path / "target"
        apply_flat(target, BASE, *layers)
    else:
        target = merged(tmp_path, [BASE, *layers])
    assert [path for path in there if not os.path.lexists(target / path)] == []
    assert [path for path in gone if os.path.lexists(target / path)] == []


@pytest.mark.parametrize("case", CASES)
def test_the_kernels_overlay_shows_the_same_tree(case: str, tmp_path: Path) -> None:
    require_root()
    folders = apply_overlay(tmp_path / "layers", [BASE, *CASES[case][0]])
    target = tmp_path / "mounted"
    target.mkdir()
    if len(folders) < 2:
        folders.append(tmp_path / "layers")
    options = "ro,lowerdir=" + ":".join(str(folder) for folder in folders)
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, target], check=True)
    try:
        shown, groups = rows(target), link_groups(target)
    finally:
        subprocess.run(["umount", target], check=True)
    copy = tmp_path / "merged"
    copy.mkdir()
    with Union(folders) as tree:
        fd = os.open(copy, os.O_RDONLY | os.O_DIRECTORY)
        copy_tree(tree.roots, fd)
        os.close(fd)
    assert different(shown, rows(copy)) == {}
    assert groups == link_groups(copy)


def test_attributes_are_kept(tmp_path: Path) -> None:
    require_root()
    layer = t.archive(
        t.directory(b"d", 0o2750, uid=7, gid=8),
        t.pax({b"mtime": b"1600000000.123456789", b"SCHILY.xattr.security.capability": CAPABILITY,
               b"SCHILY.xattr.user.note": b"n", b"SCHILY.xattr.trusted.x": b"no"}),
        t.file(b"d/f", b"x", mode=0o4755, uid=1234, gid=5678),
        t.header(b"null", kind=b"3", device=(1, 3), mode=0o666),
        t.header(b"pipe", kind=b"6", mode=0o620),
        t.symlink(b"l", b"nowhere"),
    )  # fmt: skip
    apply_flat(tmp_path / "t", layer)
    file = tmp_path / "t/d/f"
    status = file.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o4755, 1234, 5678)
    assert status.st_mtime_ns == 1600000000123456789
    assert os.getxattr(file, "security.capability") == CAPABILITY
    assert os.getxattr(file, "user.note") == b"n"
    assert "trusted.x" not in os.listxattr(file)
    directory = (tmp_path / "t/d").stat()
    assert (stat.S_IMODE(directory.st_mode), directory.st_uid, directory.st_gid) == (0o2750, 7, 8)
    assert directory.st_mtime == 1_700_000_000
    assert (tmp_path / "t/null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO((tmp_path / "t/pipe").stat().st_mode)
    assert (tmp_path / "t/l").lstat().st_mtime == 1_700_000_000


def test_undescribed_directories_take_the_lower_layers_attributes(tmp_path: Path) -> None:
    require_root()
    target = merged(tmp_path, [BASE, t.archive(t.file(b"usr/new", b"n"))])
    status = (target / "usr").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o751, 3, 4)


def test_sparse_files_keep_their_holes(tmp_path: Path) -> None:
    layer = t.archive(
        t.pax({b"GNU.sparse.size": b"%d" % (64 << 20), b"GNU.sparse.numblocks": b"1",
               b"GNU.sparse.map": b"%d,4" % (32 << 20)}),
        t.file(b"holes", b"data"),
    )  # fmt: skip
    apply_flat(tmp_path / "t", layer)
    file = tmp_path / "t/holes"
    assert file.stat().st_size == 64 << 20
    assert file.stat().st_blocks * 512 < 1 << 20
    with file.open("rb") as stream:
        stream.seek(32 << 20)
        assert stream.read(5) == b"data\0"


def test_unprivileged_unpacking_writes_down_what_it_cannot_do(tmp_path: Path) -> None:
    layer = t.archive(
        t.directory(b"d", 0o555, uid=5, gid=6),
        t.file(b"d/f", b"x", mode=0o4000, uid=1, gid=2),
        t.header(b"null", kind=b"3", device=(1, 3), mode=0o666, uid=9),
        t.file(b"plain", b"x"),
    )
    LayerApplier(tmp_path, form=Form.FLAT, privileges=PLAIN).apply(TarReader(iter([layer])))
    assert os.getxattr(tmp_path / "d/f", "user.containers.override_stat") == b"1:2:04000"
    assert os.getxattr(tmp_path / "null", "user.containers.override_stat") == b"9:0:0666:char-1-3"
    assert os.listxattr(tmp_path / "plain") == []
    with Union([tmp_path]) as tree:
        found = {visit.path: visit.entry for visit in tree.walk()}
    assert (found[b"d",].uid, found[b"d",].gid, found[b"d",].mode) == (5, 6, 0o555)
    assert (found[b"d", b"f"].uid, found[b"d", b"f"].mode) == (1, 0o4000)
    assert (found[b"null",].kind.name, found[b"null",].major, found[b"null",].minor) == ("CHAR_DEVICE", 1, 3)


def test_a_hard_link_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="not there"):
        apply_flat(tmp_path / "t", t.archive(t.hard_link(b"a", b"b")))
    with pytest.raises(InvalidLayer, match="not there"):
        merged(tmp_path / "o", [BASE, t.archive(t.hard_link(b"a", b"b"))])


def test_gnu_tar_makes_the_same_tree(tmp_path: Path) -> None:
    require_root()
    tar = require_program("tar")
    source = tmp_path / "source"
    for folder in ("a/b/c", "a/d", "ü-ß", "x" * 120):
        (source / folder).mkdir(parents=True)
    (source / "a/b/file").write_bytes(b"x" * 5000)
    (source / "a/b/file").chmod(0o6711)
    os.chown(source / "a/b/file", 4_000_000, 5_000_000)
    os.link(source / "a/b/file", source / "a/d/again")
    (source / "link").symlink_to("a/b/file")
    (source / ("long" * 60)).write_bytes(b"y")
    os.mknod(source / "dev", stat.S_IFBLK | 0o640, os.makedev(7, 9))
    os.mkfifo(source / "a/pipe")
    os.utime(source / "a", ns=(1_234_567_890_987_654_321, 1_234_567_890_987_654_321))
    for form in ("gnu", "pax", "posix"):
        archive = tmp_path / f"{form}.tar"
        options = [f"--format={form}", "--numeric-owner"]
        subprocess.run([tar, *options, "-C", source, "-cf", archive, "."], check=True)
        theirs, ours = tmp_path / f"{form}-theirs", tmp_path / f"{form}-ours"
        theirs.mkdir()
        subprocess.run([tar, *options, "-p", "-C", theirs, "-xf", archive], check=True)
        apply_flat(ours, archive.read_bytes())
        assert different(rows(theirs), rows(ours)) == {}
        assert link_groups(theirs) == link_groups(ours)


@pytest.mark.parametrize("privileges", [None, PLAIN], ids=["own rights", "plain user"])
@pytest.mark.parametrize(
    "layer",
    [
        t.pax({b"uid": b"%d" % 2**33}) + t.directory(b"./"),
        t.pax({b"gid": b"%d" % (2**32 - 1)}) + t.directory(b"./"),
        t.header(b"null", kind=b"3", device=(1 << 12, 3)),
        t.header(b"null", kind=b"4", device=(1, 1 << 20)),
    ],
    ids=["owner of the root", "group of the root", "device major", "device minor"],
)
def test_K2_numbers_that_no_kernel_has_are_refused(
    tmp_path: Path, layer: bytes, privileges: Privileges | None
) -> None:
    with pytest.raises(InvalidLayer, match="more than"):
        LayerApplier(tmp_path, form=Form.OVERLAY, privileges=privileges).apply(
            TarReader(iter([layer + t.END]))
        )
