"""The tree of an image's layers, against the files that unpacking the same layers makes."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.inventory.files.changes import compare
from entrepot.inventory.files.entries import LayerEntry, What, read_layer
from entrepot.inventory.files.shown import mode_text, path_text
from entrepot.inventory.files.sizes import folder_sizes, waste_of
from entrepot.inventory.files.tree import Sight, Tree, walk
from entrepot.layers.apply import LayerApplier
from entrepot.layers.diff import ChangeKind
from entrepot.layers.errors import InvalidLayer, LayerLimitExceeded, UnsafePath
from entrepot.layers.tar_reader import TarReader
from tests.support import tarballs


def entries(layer: bytes, **options: object) -> list[LayerEntry]:
    return list(read_layer(iter([layer]), **options))  # type: ignore[arg-type]


def tree_of(*layers: bytes) -> Tree:
    tree = Tree()
    for number, layer in enumerate(layers):
        tree.apply(entries(layer, digests=True), number)
    return tree


def listed(tree: Tree) -> dict[str, str]:
    return {
        path_text(path, is_directory=node.is_directory): mode_text(node.entry)
        for path, node in walk(tree.root)
    }


def unpacked(root: Path, layers: Sequence[bytes]) -> dict[str, str]:
    """The same, of the files that unpacking makes."""
    for layer in layers:
        LayerApplier(root).apply(TarReader(iter([layer])))
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            shown = "/" + str(path.relative_to(root))
            is_folder = path.is_dir() and not path.is_symlink()
            found[shown + "/" * is_folder] = path.lstat().st_mode
    return {name: _mode(mode) for name, mode in found.items()}


def _mode(mode: int) -> str:
    import stat

    return stat.filemode(mode)


BASE = tarballs.archive(
    tarballs.directory(b"usr/"),
    tarballs.directory(b"usr/lib/"),
    tarballs.symlink(b"lib", b"usr/lib"),
    tarballs.file(b"usr/lib/a", b"aaaa"),
    tarballs.hard_link(b"usr/lib/b", b"usr/lib/a"),
    tarballs.directory(b"opt/", mode=0o1777),
    tarballs.file(b"opt/old", b"12345"),
    tarballs.directory(b"opt/deep/"),
    tarballs.file(b"opt/deep/file", b"123"),
)
TOPS = {
    "through a link": tarballs.archive(tarballs.file(b"lib/c", b"c"), tarballs.file(b"lib/.wh.a", b"")),
    "opaque": tarballs.archive(tarballs.file(b"opt/new", b"n"), tarballs.file(b"opt/.wh..wh..opq", b"")),
    "removed and made": tarballs.archive(tarballs.file(b"opt/old", b"1"), tarballs.file(b"opt/.wh.old", b"")),
    "folder removed": tarballs.archive(tarballs.file(b".wh.opt", b"")),
    "folder to file": tarballs.archive(tarballs.file(b"opt", b"now a file", mode=0o4755)),
    "file to folder": tarballs.archive(tarballs.directory(b"opt/old"), tarballs.file(b"opt/old/x", b"")),
    "twice": tarballs.archive(tarballs.file(b"f", b"1"), tarballs.file(b"f", b"22")),
    "link to below": tarballs.archive(tarballs.hard_link(b"again", b"lib/a")),
    "link replaced": tarballs.archive(tarballs.directory(b"lib"), tarballs.file(b"lib/own", b"")),
    "part of a removed folder": tarballs.archive(
        tarballs.file(b"opt/deep/other", b""), tarballs.file(b"opt/.wh.deep", b"")
    ),
    "nothing removed": tarballs.archive(tarballs.file(b"none/.wh.x", b"")),
}


@pytest.mark.parametrize("top", TOPS.values(), ids=TOPS)
def test_tree_is_what_unpacking_makes(tmp_path: Path, top: bytes) -> None:
    assert listed(tree_of(BASE, top)) == unpacked(tmp_path, [BASE, top])


_NAMES = st.sampled_from([b"a", b"b", b"a/b", b"a/c", b"b/a", b"a/b/c", b"l/a", b"l"])
_ENTRIES = st.one_of(
    st.builds(tarballs.file, _NAMES, st.sampled_from([b"", b"x", b"long"])),
    st.builds(tarballs.directory, _NAMES),
    st.builds(tarballs.symlink, _NAMES, st.sampled_from([b"a", b"/b", b"../a", b"a/b", b"gone/../b"])),
    st.builds(tarballs.hard_link, _NAMES, _NAMES),
    st.builds(lambda name: tarballs.file(_whiteout(name)), _NAMES),
    st.builds(lambda name: tarballs.file(name + b"/.wh..wh..opq"), st.sampled_from([b"a", b"b", b"l"])),
)


def _whiteout(name: bytes) -> bytes:
    above, slash, last = name.rpartition(b"/")
    return above + slash + b".wh." + last


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.lists(st.lists(_ENTRIES, max_size=5), min_size=1, max_size=3))
def test_any_layers_make_the_tree_that_unpacking_makes(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[bytes]]
) -> None:
    archives = [tarballs.archive(*each) for each in layers]
    try:
        wanted = unpacked(tmp_path_factory.mktemp("root"), archives)
    except (InvalidLayer, UnsafePath):
        return  # what can't be unpacked may be refused here too, or shown in part
    tree = tree_of(*archives)
    assert listed(tree) == wanted


@settings(max_examples=150, deadline=None)
@given(
    layers=st.lists(st.lists(_ENTRIES, max_size=5), min_size=2, max_size=3),
    name=_NAMES,
)
def test_what_upper_layers_tell_for_certain_is_so(layers: list[list[bytes]], name: bytes) -> None:
    lists = [entries(tarballs.archive(*each)) for each in layers]
    whole, upper = Tree(), Tree(complete=False)
    try:
        for number, each in enumerate(lists):
            whole.apply(each, number)
            if number:
                upper.apply(each, number)
        sight, path = upper.resolve(tuple(name.split(b"/")))
        found, node = upper.find(path)
    except (InvalidLayer, UnsafePath):
        return
    if Sight.UNKNOWN in (sight, found):
        return
    assert whole.resolve(tuple(name.split(b"/")))[1] == path
    other = whole.find(path)[1]
    assert (node is None) == (other is None)
    if node is not None and other is not None:
        assert (node.entry.what, node.source) == (other.entry.what, other.source)


def test_who_brought_changed_and_hid_a_name() -> None:
    change = tarballs.archive(tarballs.file(b"opt/old", b"123456"), tarballs.file(b".wh.lib", b""))
    tree = tree_of(BASE, change)
    old = tree.find((b"opt", b"old"))[1]
    assert old is not None
    assert (old.brought, old.layer, old.changed) == (0, 1, True)
    assert tree.root.gone is not None
    assert tree.root.gone[b"lib"].hidden_by == 1


def test_wasted_bytes_are_copies_and_removed_files() -> None:
    second = tarballs.archive(tarballs.file(b"opt/old", b"1234567"), tarballs.file(b"opt/.wh.deep", b""))
    found = waste_of(tree_of(BASE, second))
    assert [(each.path[-1], each.size, each.copies, each.removed) for each in found.files] == [
        (b"old", 12, 2, False), (b"file", 3, 1, True),
    ]  # fmt: skip
    assert found.wasted_bytes == 15
    assert found.efficiency == pytest.approx((4 + 5) / (4 + 5 + 3 + 7))


def test_folders_add_up_and_a_hard_link_counts_once() -> None:
    sizes = folder_sizes(tree_of(BASE))
    assert (sizes.size, sizes.files) == (4 + 5 + 3, 4)
    assert [each.path for each in sizes.children] == [(b"opt",), (b"usr",), (b"lib",)]


def test_changes_tell_contents_apart_not_times() -> None:
    other = tarballs.archive(
        tarballs.file(b"opt/old", b"54321"),
        tarballs.file(b"usr/lib/a", b"aaaa", mtime=5),
        tarballs.file(b"opt/.wh.deep", b""),
        tarballs.file(b"new", b""),
    )
    found = [(each.kind, path_text(each.path)) for each in compare(tree_of(BASE), tree_of(BASE, other))]
    assert found == [
        (ChangeKind.ADDED, "/new"),
        (ChangeKind.DELETED, "/opt/deep"),
        (ChangeKind.DELETED, "/opt/deep/file"),
        (ChangeKind.MODIFIED, "/opt/old"),
    ]


def test_links_in_a_circle_end() -> None:
    tree = tree_of(tarballs.archive(tarballs.symlink(b"x", b"y"), tarballs.symlink(b"y", b"x")))
    with pytest.raises(UnsafePath):
        tree.resolve((b"x",))
    with pytest.raises(UnsafePath):
        tree_of(tarballs.archive(tarballs.symlink(b"x", b"x"), tarballs.file(b"x/y", b"")))


def test_a_name_of_64_kib_is_refused() -> None:
    long = b"d/" * 32_768
    with pytest.raises(LayerLimitExceeded):
        entries(tarballs.archive(tarballs.gnu_long(long), tarballs.file(b"short", b"")))


def test_links_to_long_missing_paths_do_not_fill_the_memory() -> None:
    made = [
        each
        for number in range(50)
        for each in (
            tarballs.symlink(b"l%d" % number, b"%d/" % number * 20),
            tarballs.file(b"l%d/f" % number, b""),
        )
    ]
    tree = Tree(max_nodes=500)
    with pytest.raises(LayerLimitExceeded):
        tree.apply(entries(tarballs.archive(*made)), 0)


def test_a_layer_cut_anywhere_has_no_list() -> None:
    for end in range(512, len(BASE) - 1024, 512):
        cut = BASE[: end - 100]
        with pytest.raises(InvalidLayer):
            entries(cut)


def test_a_sparse_file_is_hashed_with_its_holes_up_to_a_limit() -> None:
    import hashlib

    def sparse(size: int) -> bytes:
        body = b"1\n%d\n1\n" % (size - 1)
        body += bytes(-len(body) % 512)
        header = {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.realsize": b"%d" % size,
            b"GNU.sparse.name": b"s",
        }
        return tarballs.archive(tarballs.pax(header), tarballs.file(b"GNUSparseFile.0/s", body + b"x"))

    (small,) = entries(sparse(3000), digests=True)
    assert small.sha256 == hashlib.sha256(bytes(2999) + b"x").digest()
    (huge,) = entries(sparse(200 << 30), digests=True)
    assert (huge.what, huge.size, huge.sha256) == (What.FILE, 200 << 30, b"")
