"""A real Debian root file system, unpacked by us, by GNU tar and by umoci: the same tree, entry by entry."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from entrepot.actions.append import append_layer
from entrepot.actions.import_ import import_
from entrepot.images.snapshots import Snapshots
from entrepot.images.store import ImageStore
from tests.integration.containers.conftest import TIMEOUT_S
from tests.support.images import debootstrap_root
from tests.support.programs import require_program
from tests.support.tarballs import archive, directory, file, header
from tests.support.trees import different, link_groups, rows

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

UPPER = archive(
    directory(b"etc"),
    file(b"etc/.wh.issue"),
    directory(b"usr"),
    directory(b"usr/share"),
    file(b"usr/share/.wh.doc"),
    file(b"etc/hostname", b"made\n", uid=7, gid=8, mode=0o4755),
    header(b"pipe", kind=b"6"),
)


def test_gnu_tar_and_umoci_make_the_same_tree(tmp_path: Path) -> None:
    base, upper = debootstrap_root(), tmp_path / "upper.tar"
    upper.write_bytes(UPPER)
    store = ImageStore(tmp_path / "store")
    import_(base, "debian:1", store=store)
    image = append_layer("debian:1", upper, "debian:2", store=store)
    snapshots = Snapshots(store)
    with snapshots.in_use():
        top, lowest = snapshots.ensure(image)

    by_tar = tmp_path / "tar"
    by_tar.mkdir()
    options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "-p"]
    subprocess.run(
        [require_program("tar"), *options, "-C", by_tar, "-xf", base], check=True, timeout=TIMEOUT_S
    )
    assert different(rows(by_tar), rows(lowest)) == {}
    assert link_groups(by_tar) == link_groups(lowest)

    merged = tmp_path / "merged"
    merged.mkdir()
    subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={top}:{lowest}", merged], check=True
    )
    try:
        ours = rows(merged)
    finally:
        subprocess.run(["umount", merged], check=True)
    name = f"{store.root}:docker.io/library/debian:2"
    argv = [require_program("umoci"), "unpack", "--image", name, tmp_path / "umoci"]
    subprocess.run(argv, check=True, capture_output=True, timeout=TIMEOUT_S)
    theirs = rows(tmp_path / "umoci/rootfs")
    # umoci touches the directories it deletes from; their times say nothing.
    touched = {"usr/share", "etc"} & ours.keys()
    found = {path: pair for path, pair in different(ours, theirs).items() if path not in touched}
    assert found == {}
    assert "etc/issue" not in ours
    assert "usr/share/doc" not in ours
