"""The tar reader: what it reads, and K3: what it refuses because readers disagree."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.layers.entry import Entry, Kind
from entrepot.layers.errors import InvalidLayer, LayerLimitExceeded
from entrepot.layers.limits import UnpackLimits
from entrepot.layers.tar_reader import TarReader
from entrepot.layers.tar_writer import TarWriter
from tests.support import tarballs as t
from tests.support.programs import require_program


def read(
    data: bytes, limits: UnpackLimits = UnpackLimits(), chunk: int = 1 << 20
) -> list[tuple[Entry, bytes]]:
    """Entries with their data, the stream given in pieces of `chunk` bytes."""
    reader = TarReader((data[at : at + chunk] for at in range(0, len(data), chunk)), limits)
    return [(entry, b"".join(bytes(piece) for _, piece in reader.data())) for entry in reader]


AMBIGUOUS: dict[str, bytes] = {
    "pax-size-differs": t.archive(t.pax({b"size": b"512"}), t.file(b"a"), bytes(512)),
    "pax-size-smaller": t.archive(t.pax({b"size": b"0"}), t.file(b"a", b"x" * 512)),
    "pax-before-gnu-name": t.archive(t.pax({b"path": b"one"}), t.gnu_long(b"two"), t.file(b"three", b"x")),
    "gnu-name-before-pax": t.archive(t.gnu_long(b"two"), t.pax({b"mtime": b"1"}), t.file(b"three", b"x")),
    "two-pax-headers": t.archive(t.pax({b"path": b"one"}), t.pax({b"path": b"two"}), t.file(b"three", b"x")),
    "two-gnu-names": t.archive(t.gnu_long(b"one"), t.gnu_long(b"two"), t.file(b"three", b"x")),
    "pax-key-twice": t.archive(
        t.header(b"x", kind=b"x", size=22) + t.padded(t.record(b"path", b"a") + t.record(b"path", b"b")),
        t.file(b"c"),
    ),
    "global-path": t.archive(t.pax({b"path": b"one"}, kind=b"g"), t.file(b"two", b"x")),
    "global-size": t.archive(t.pax({b"size": b"0"}, kind=b"g"), t.file(b"two", b"x")),
    "wrong-checksum": t.archive(t.file(b"a", b"x", checksum=b"000000\0 ")),
    "data-after-the-end": t.archive(t.file(b"a", b"x")) + t.archive(t.file(b"b", b"x")),
    "lone-zero-block": t.file(b"a", b"x") + bytes(512) + t.archive(t.file(b"b", b"x")),
    "directory-with-data": t.archive(t.directory(b"d", size=512), bytes(512)),
    "symlink-with-data": t.archive(t.header(b"l", kind=b"2", link=b"x", size=512), bytes(512)),
    "device-with-data": t.archive(t.header(b"l", kind=b"3", size=512), bytes(512)),
    "slash-name-with-data": t.archive(t.file(b"d/", b"x")),
    "negative-size": t.archive(t.header(b"a", size_field=b"\xff" * 12)),
    "size-no-number": t.archive(t.header(b"a", size_field=b"12x45678901\0")),
    "size-beyond-63-bits": t.archive(t.header(b"a", size_field=b"\x80\x7f" + b"\xff" * 10)),
    "multi-volume": t.archive(t.header(b"a", kind=b"M")),
    "volume-label": t.archive(t.header(b"a", kind=b"V")),
    "unknown-type": t.archive(t.header(b"a", kind=b"Z")),
    "pax-record-overrun": t.archive(t.header(b"x", kind=b"x", size=9) + t.padded(b"99 path=a"), t.file(b"b")),
    "pax-record-without-newline": t.archive(
        t.header(b"x", kind=b"x", size=9) + t.padded(b"9 path=ab"), t.file(b"b")
    ),
    "pax-time-no-number": t.archive(t.pax({b"mtime": b"nan"}), t.file(b"a")),
    "no-name": t.archive(t.file(b"")),
    "link-without-target": t.archive(t.header(b"l", kind=b"2")),
    "cut-in-data": t.archive(t.file(b"a", b"x" * 2000))[:1200],
    "cut-in-header": t.archive(t.file(b"a", b"x"))[:700][:600] + b"",
    "extension-alone": t.pax({b"path": b"one"}),
    "sparse-overlap": t.archive(
        t.pax({b"GNU.sparse.size": b"9", b"GNU.sparse.numblocks": b"2", b"GNU.sparse.map": b"0,4,2,4"}),
        t.file(b"a", b"x" * 8),
    ),
    "sparse-beyond-its-end": t.archive(
        t.pax({b"GNU.sparse.size": b"4", b"GNU.sparse.numblocks": b"1", b"GNU.sparse.map": b"0,8"}),
        t.file(b"a", b"x" * 8),
    ),
    "sparse-map-and-data-differ": t.archive(
        t.pax({b"GNU.sparse.size": b"9", b"GNU.sparse.numblocks": b"1", b"GNU.sparse.map": b"0,4"}),
        t.file(b"a", b"x" * 8),
    ),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_K3_ambiguous_archives_are_refused(name: str) -> None:
    with pytest.raises(InvalidLayer):
        read(AMBIGUOUS[name])


LIMITS = UnpackLimits(max_entries=10, max_header_bytes=4096, max_file_bytes=1 << 20, max_path_bytes=512,
                      max_sparse_bytes=1 << 20, max_sparse_segments=4, max_sparse_map_bytes=1024)  # fmt: skip
ONE_NUMBER_IN_MANY_BLOCKS = t.padded(b"1\n" + b"0" * 2000 + b"\n0\n")
TOO_MUCH: dict[str, bytes] = {
    "entries": t.archive(*(t.file(b"a%d" % number) for number in range(11))),
    "extension-headers": t.archive(*(t.pax({b"comment": b"x"}, kind=b"g") for _ in range(11))),
    "long-name": t.gnu_long(b"a" * 8000) + t.file(b"a"),
    "long-name-claimed": t.header(b"x", kind=b"L", size=1 << 30),
    "file-size": t.header(b"a", size=1 << 21),
    "path": t.archive(t.pax({b"path": b"a" * 600}), t.file(b"a")),
    "sparse-size": t.archive(
        t.pax({b"GNU.sparse.size": b"9999999999", b"GNU.sparse.numblocks": b"0", b"GNU.sparse.map": b""}),
        t.file(b"a"),
    ),
    "sparse-segments": t.archive(
        t.pax({b"GNU.sparse.size": b"99", b"GNU.sparse.numblocks": b"5",
               b"GNU.sparse.map": b"0,1,2,1,4,1,6,1,8,1"}),
        t.file(b"a", b"xxxxx"),
    ),
    "sparse-map": t.archive(
        t.pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9"}),
        t.file(b"a", ONE_NUMBER_IN_MANY_BLOCKS),
    ),
    "sparse-map-of-empty-headers": t.archive(
        t.header(b"a", kind=b"S", magic=b"ustar  \0", sparse_continues=True),
        *[bytes(504) + b"\1" + bytes(7)] * 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_K2_archives_beyond_a_limit_are_refused(name: str) -> None:
    with pytest.raises((LayerLimitExceeded, InvalidLayer)) as caught:
        read(TOO_MUCH[name], LIMITS)
    if name != "sparse-size":
        assert isinstance(caught.value, LayerLimitExceeded)


def test_reads_names_links_devices_and_times() -> None:
    data = t.archive(
        t.directory(b"d/", 0o1777),
        t.file(b"d/f", b"hello", mode=0o4755, uid=12, gid=34),
        t.symlink(b"l", b"/etc/passwd"),
        t.hard_link(b"h", b"d/f"),
        t.header(b"null", kind=b"3", device=(1, 3)),
        t.header(b"pipe", kind=b"6"),
        t.pax(
            {
                b"path": "ü".encode() * 60,
                b"mtime": b"1.25",
                b"SCHILY.xattr.user.a": b"\x00\xff",
                b"uid": b"3000000",
            }
        ),
        t.file(b"short", b"x"),
        t.file(b"name", b"y", prefix=b"pre/fix"),
        t.pax({b"comment": b"from git"}, kind=b"g"),
    )
    entries = [entry for entry, _ in read(data, chunk=700)]
    by_name = {entry.name: entry for entry in entries}
    assert [entry.kind for entry in entries][:6] == [
        Kind.DIRECTORY, Kind.FILE, Kind.SYMLINK, Kind.HARD_LINK, Kind.CHAR_DEVICE, Kind.FIFO,
    ]  # fmt: skip
    assert (by_name[b"d/f"].mode, by_name[b"d/f"].uid, by_name[b"d/f"].gid) == (0o4755, 12, 34)
    assert by_name[b"l"].link == b"/etc/passwd"
    assert (by_name[b"null"].major, by_name[b"null"].minor) == (1, 3)
    long = by_name["ü".encode() * 60]
    assert (long.mtime_ns, long.uid, long.xattrs) == (1_250_000_000, 3_000_000, {b"user.a": b"\x00\xff"})
    assert b"pre/fix/name" in by_name


def test_size_in_pax_alone_is_read_when_the_header_cannot_hold_it() -> None:
    data = t.pax({b"size": b"8589934592"}) + t.file(b"big")
    reader = TarReader(iter([data]))
    assert next(iter(reader)).size == 8 << 30


@pytest.mark.parametrize(
    "form", ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]
)
def test_sparse_files_of_gnu_tar_are_read(form: str, tmp_path: Path) -> None:
    tar = require_program("tar")
    with (tmp_path / "holes").open("wb") as file:
        for at in range(0, 40 << 20, 4 << 20):
            file.seek(at)
            file.write(b"data at %d" % at)
        file.truncate(50 << 20)
    options = [form] if form == "--format=gnu" else ["--format=pax", form]
    data = subprocess.run(
        [tar, "-S", *options, "-C", tmp_path, "-cf", "-", "holes"], capture_output=True, check=True
    )
    reader = TarReader(iter([data.stdout]))
    (entry,) = list(_with_pieces(reader))
    found, pieces = entry
    assert (found.name, found.size) == (b"holes", 50 << 20)
    for at in range(0, 40 << 20, 4 << 20):
        assert any(offset <= at < offset + len(piece) for offset, piece in pieces)
    assert sum(len(piece) for _, piece in pieces) < 1 << 20
    for offset, piece in pieces:
        if b"data at" in piece:
            start = piece.index(b"data at")
            assert piece[start:].startswith(b"data at %d" % (offset + start))


def _with_pieces(reader: TarReader) -> list[tuple[Entry, list[tuple[int, bytes]]]]:
    return [(entry, [(at, bytes(piece)) for at, piece in reader.data()]) for entry in reader]


names = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=80
).filter(lambda name: name not in (".", ".."))
entries = st.builds(
    lambda parts, kind, mode, uid, mtime, data: (
        Entry(
            "/".join(parts).encode()[:900],
            kind,
            mode=mode,
            uid=uid,
            gid=uid,
            mtime_ns=mtime * 1_000_000_000,
            size=len(data) if kind is Kind.FILE else 0,
            link="/".join(reversed(parts)).encode()[:900] if kind in (Kind.SYMLINK, Kind.HARD_LINK) else b"",
        ),
        data if kind is Kind.FILE else b"",
    ),
    st.lists(names, min_size=1, max_size=4),
    st.sampled_from([Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARD_LINK, Kind.FIFO]),
    st.integers(0, 0o7777),
    st.integers(0, (1 << 32) - 2),
    st.integers(-(1 << 31), 1 << 35),
    st.binary(max_size=1500),
)


@given(st.lists(entries, max_size=5))
def test_what_is_written_is_read_back(items: list[tuple[Entry, bytes]]) -> None:
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry, data in items:
        writer.add(entry, [data])
    writer.close()
    back = read(out.getvalue(), chunk=777)
    for (entry, data), (found, content) in zip(items, back, strict=True):
        wanted = entry.name + b"/" if entry.kind is Kind.DIRECTORY else entry.name
        assert (found.name, found.kind, found.mode, found.uid) == (wanted, entry.kind, entry.mode, entry.uid)
        assert (found.mtime_ns, found.link, found.size, content) == (
            entry.mtime_ns,
            entry.link,
            len(data),
            data,
        )


@given(st.lists(entries, max_size=4))
def test_another_reader_sees_the_same(items: list[tuple[Entry, bytes]]) -> None:
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry, data in items:
        writer.add(entry, [data])
    writer.close()
    with tarfile.open(fileobj=io.BytesIO(out.getvalue()), errors="surrogateescape", encoding="utf-8") as tar:
        seen = [(member.name.encode("utf-8", "surrogateescape"), member.size, member.mtime) for member in tar]
    assert seen == [
        (entry.name.rstrip(b"/"), entry.size, entry.mtime_ns // 1_000_000_000) for entry, _ in items
    ]


@given(st.binary(max_size=3000))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    with contextlib.suppress(InvalidLayer, LayerLimitExceeded):
        read(data)


@given(st.integers(0, 1535), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_read_the_same_way_twice(at: int, value: int) -> None:
    data = bytearray(t.archive(t.pax({b"path": b"long/name"}), t.file(b"a", b"x" * 600)))
    data[at] = value
    outcomes = []
    for chunk in (512, 1 << 20):
        try:
            outcomes.append(
                [(entry.name, entry.size, content) for entry, content in read(bytes(data), chunk=chunk)]
            )
        except (InvalidLayer, LayerLimitExceeded) as error:
            outcomes.append([(type(error).__name__, 0, b"")])
    assert outcomes[0] == outcomes[1]
