"""What changed between trees, and that the layer which says so leads from one to the other."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from entrepot.layers.apply import Form, LayerApplier
from entrepot.layers.diff import (
    listed_changes,
    same_content,
    tree_changes,
    upper_changes,
    write_layer,
    write_tree,
)
from entrepot.layers.tar_reader import TarReader
from entrepot.layers.tar_writer import TarWriter
from entrepot.layers.union import Union
from tests.support.trees import different, link_groups, rows


def make(root: Path, files: dict[str, bytes | None]) -> Path:
    """Files with content, and directories (None), all with one time."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)
    return root


def layer_between(new: Path, old: Path) -> bytes:
    out = io.BytesIO()
    with Union([new]) as after, Union([old]) as before:
        write_layer(TarWriter(out), tree_changes(after, before))
    return out.getvalue()


def shown(new: Path, old: Path) -> list[str]:
    with Union([new]) as after, Union([old]) as before:
        changes = listed_changes(tree_changes(after, before))
    return [f"{kind.value} /{os.fsdecode(b'/'.join(path))}" for kind, path in changes]


def test_changes_are_listed_with_their_parents(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {"a/b/c": b"1", "a/gone": b"x", "same": b"s", "dir/x": b"1"})
    new = make(tmp_path / "new", {"a/b/c": b"22", "a/new": b"n", "same": b"s", "dir": b"file now"})
    assert shown(new, old) == ["C /a", "C /a/b", "C /a/b/c", "D /a/gone", "A /a/new", "C /dir"]


def test_nothing_changed_is_nothing(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {"a/b": b"1"})
    shutil.copytree(old, tmp_path / "new", symlinks=True)
    assert shown(tmp_path / "new", old) == []


def test_a_file_with_another_time_alone_can_be_the_same(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {"a": b"1", "b": b"1"})
    new = make(tmp_path / "new", {"a": b"1", "b": b"2"})
    os.utime(new / "a", (1, 1))
    os.utime(new / "b", (1, 1))
    with Union([new]) as after, Union([old]) as before:
        changed = [change.path for change in tree_changes(after, before, same=same_content)]
    assert changed == [(b"b",)]


def test_mode_owner_and_type_changes_are_seen(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {"mode": b"", "dir": None, "link": b""})
    new = make(tmp_path / "new", {"mode": b"", "dir": None})
    (new / "mode").chmod(0o600)
    (new / "dir").chmod(0o700)
    (new / "link").symlink_to("x")
    assert shown(new, old) == ["C /dir", "C /link", "C /mode"]


def test_hard_links_stay_one_file_in_the_layer(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {})
    new = make(tmp_path / "new", {"one": b"x"})
    os.link(new / "one", new / "two")
    names = [
        (entry.name, entry.kind.name, entry.link) for entry in TarReader(iter([layer_between(new, old)]))
    ]
    assert names == [(b"one", "FILE", b""), (b"two", "HARD_LINK", b"one")]


def test_sockets_are_left_out(tmp_path: Path) -> None:
    import socket

    new = make(tmp_path / "new", {"a": b"x"})
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.open(new, os.O_RDONLY)
        sock.bind(f"/proc/self/fd/{here}/s")
        os.close(here)
        names = [entry.name for entry in TarReader(iter([layer_between(new, make(tmp_path / "old", {}))]))]
    assert names == [b"a"]


tree = st.dictionaries(
    st.sampled_from(["a", "b", "a/x", "a/y", "a/x/1", "b/x", "c/d/e", "c/d", "c/f"]),
    st.one_of(st.none(), st.binary(max_size=3)),
    max_size=6,
).map(
    lambda files: {
        name: content
        for name, content in files.items()
        if not any(
            other != name and name.startswith(other + "/") and files[other] is not None for other in files
        )
        and not (content is not None and any(other.startswith(name + "/") for other in files))
    }
)


@given(tree, tree)
def test_a_layer_leads_from_the_old_tree_to_the_new(old_files: dict, new_files: dict) -> None:  # type: ignore[type-arg]
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        old, new = make(Path(folder, "old"), old_files), make(Path(folder, "new"), new_files)
        layer = layer_between(new, old)
        flat = Path(folder, "flat")
        shutil.copytree(old, flat)
        LayerApplier(flat, form=Form.FLAT).apply(TarReader(iter([layer])))
        assert different(rows(flat, times=False), rows(new, times=False)) == {}
        upper = Path(folder, "upper")
        upper.mkdir()
        LayerApplier(upper, form=Form.OVERLAY).apply(TarReader(iter([layer])))
        out = io.BytesIO()
        with Union([upper, old]) as merged:
            write_tree(TarWriter(out), merged)
        again = Path(folder, "again")
        again.mkdir()
        LayerApplier(again, form=Form.FLAT).apply(TarReader(iter([out.getvalue()])))
        assert different(rows(again, times=False), rows(new, times=False)) == {}
        with Union([upper]) as top, Union([old]) as below, Union([new]) as after:
            from_upper = {(kind, path) for kind, path in listed_changes(upper_changes(top, below))}
            compared = {(kind, path) for kind, path in listed_changes(tree_changes(after, below))}
        assert {path for _, path in from_upper} >= {path for _, path in compared}


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    outputs = []
    for name in ("one", "two"):
        root = make(tmp_path / name, {"b/c": b"1", "a": b"2", "ü": b"3"})
        os.utime(root / "a", (2_000_000_000, 2_000_000_000 + len(outputs)))
        out = io.BytesIO()
        with Union([root]) as tree:
            write_tree(TarWriter(out, latest_s=1_500_000_000), tree)
        outputs.append(out.getvalue())
    assert outputs[0] == outputs[1]
    assert link_groups(tmp_path / "one") == set()
