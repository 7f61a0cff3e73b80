"""K1: nothing outside of the directory a layer is unpacked into is read, changed or deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from entrepot.errors import EntrepotError
from entrepot.layers.apply import Form, LayerApplier
from entrepot.layers.ownership import PLAIN, current_privileges
from entrepot.layers.settle import NeedsLowerLayers, settle
from entrepot.layers.tar_reader import TarReader
from entrepot.layers.union import Union
from tests.support.hostile_archives import CONTAINED, HOSTILE, Hostile

SECRET = b"do not touch"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the target, with what an attacker would like to have."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(SECRET)
    os.utime(folder / "secret", ns=(1, 1))
    os.utime(folder, ns=(1, 1))
    return folder


def untouched(outside: Path) -> bool:
    """Whether everything is as it was: content, links, times, and nothing more."""
    secret = outside / "secret"
    status = secret.lstat()
    return (
        sorted(path.name for path in outside.iterdir()) == ["secret"]
        and secret.read_bytes() == SECRET
        and (status.st_nlink, status.st_mtime_ns, outside.stat().st_mtime_ns) == (1, 1, 1)
        and sorted(path.name for path in outside.parent.iterdir() if path.name != "outside") == ["target"]
    )


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_K1_flat_unpacking_stays_inside(hostile: Hostile, outside: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    refused = False
    for layer in hostile.layers(os.fsencode(outside)):
        try:
            LayerApplier(target, form=Form.FLAT).apply(TarReader(iter([layer])))
        except EntrepotError:
            refused = True
    assert untouched(outside)
    assert refused is (hostile.outcome != CONTAINED)
    for path in hostile.inside:
        assert (target / path).lstat()


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_K1_overlay_layers_stay_inside(hostile: Hostile, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    below: list[Path] = []
    for number, layer in enumerate(hostile.layers(os.fsencode(outside))):
        target = tmp_path / "target" / str(number)
        target.mkdir()
        try:
            applied = LayerApplier(target, form=Form.OVERLAY, privileges=current_privileges()).apply(
                TarReader(iter([layer]))
            )
            with Union(below) as lower:
                try:
                    settle(target, applied, lower)
                except NeedsLowerLayers:
                    again = tmp_path / "target" / f"{number}-again"
                    again.mkdir()
                    LayerApplier(again, form=Form.OVERLAY, lower=lower).apply(TarReader(iter([layer])))
                    target = again
        except EntrepotError:
            assert hostile.outcome != CONTAINED
        below.insert(0, target)
    assert untouched(outside)
    with Union(below) as tree:
        list(tree.walk())
        for path in hostile.inside:
            assert tree.find(tuple(os.fsencode(part) for part in path.split("/"))) is not None
    assert untouched(outside)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_K1_unprivileged_unpacking_stays_inside(hostile: Hostile, outside: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    for layer in hostile.layers(os.fsencode(outside)):
        try:
            LayerApplier(target, form=Form.FLAT, privileges=PLAIN).apply(TarReader(iter([layer])))
        except EntrepotError:
            assert hostile.outcome != CONTAINED
    assert untouched(outside)
    if (target / "suid").exists():
        assert (target / "suid").stat().st_mode & 0o6000 == 0
        assert (target / "disk").is_file()


def test_overlay_xattrs_of_a_layer_are_dropped(tmp_path: Path) -> None:
    hostile = next(each for each in HOSTILE if each.name == "overlay-xattrs")
    LayerApplier(tmp_path, form=Form.OVERLAY).apply(TarReader(iter(hostile.layers(b""))))
    assert os.listxattr(tmp_path / "d") == []
