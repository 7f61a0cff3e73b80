"""Maps of sparse files: whatever they say, segments inside of the file and in order, or a refusal."""

from __future__ import annotations

from hypothesis import example
from hypothesis import strategies as st

from entrepot.layers.errors import InvalidLayer, LayerLimitExceeded
from entrepot.layers.limits import UnpackLimits
from entrepot.layers.tar_reader import BLOCK, TarReader
from tests.support import tarballs as t
from tests.support.fuzz import fuzz

LIMITS = UnpackLimits(max_sparse_segments=64, max_sparse_map_bytes=4 * BLOCK, max_file_bytes=1 << 30)

# Numbers as maps have them, so that many draws are nearly right, and what else may stand there.
NUMBER = st.one_of(
    st.integers(0, 40).map(lambda number: b"%d" % number),
    st.sampled_from([b"", b"-1", b"+1", b" 1", b"1\0", b"0x1", b"1e3", b"9" * 19, b"9" * 20, b"0" * 600]),
    st.binary(max_size=4),
)
NUMBERS = st.lists(NUMBER, max_size=80)
ORDERED = st.lists(st.integers(0, 9), max_size=60).map(
    lambda steps: [b"%d" % (at * 10 + step % 2) for at, step in enumerate(steps)]
)
COUNT = st.one_of(NUMBER, st.none())


@fuzz(numbers=st.one_of(NUMBERS, ORDERED), count=COUNT, size=NUMBER, data=st.binary(max_size=600))
@example(numbers=[], count=b"9" * 18, size=b"9", data=b"")
@example(numbers=[b"0"] * 80, count=b"40", size=b"9", data=b"")
def test_a_map_in_front_of_the_data_is_believed_only_when_it_fits(
    numbers: list[bytes], count: bytes | None, size: bytes, data: bytes
) -> None:
    said = b"%d" % (len(numbers) // 2) if count is None else count
    text = t.padded(b"".join(number + b"\n" for number in [said, *numbers]))
    check(
        t.pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": size})
        + t.file(b"holes", text + data)
    )


@fuzz(numbers=st.one_of(NUMBERS, ORDERED), count=COUNT, size=NUMBER, data=st.binary(max_size=600))
def test_a_map_in_the_header_is_believed_only_when_it_fits(
    numbers: list[bytes], count: bytes | None, size: bytes, data: bytes
) -> None:
    said = b"%d" % (len(numbers) // 2) if count is None else count
    records = {b"GNU.sparse.size": size, b"GNU.sparse.numblocks": said}
    check(t.pax(records | {b"GNU.sparse.map": b",".join(numbers)}) + t.file(b"holes", data))
    pairs = b"".join(
        t.record((b"GNU.sparse.offset", b"GNU.sparse.numbytes")[at % 2], number)
        for at, number in enumerate(numbers)
    )
    body = b"".join(t.record(key, value) for key, value in records.items()) + pairs
    check(t.header(b"x", kind=b"x", size=len(body)) + t.padded(body) + t.file(b"holes", data))


@fuzz(fields=st.lists(st.binary(min_size=12, max_size=12), max_size=60), flags=st.lists(st.booleans()))
@example(fields=[b"0" * 11 + b"\0"] * 60, flags=[True] * 30)
def test_a_map_in_old_gnu_headers_is_believed_only_when_it_fits(
    fields: list[bytes], flags: list[bool]
) -> None:
    first = bytearray(t.header(b"holes", kind=b"S", magic=b"ustar  \0"))
    first[386:482] = b"".join(fields[:8]).ljust(96, b"\0")
    first[482] = bool(flags)
    first[483:495] = b"%011o\0" % 4096
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    rest = fields[8:]
    blocks = b""
    for at, more in enumerate(flags[1:]):
        block = b"".join(rest[at * 42 : (at + 1) * 42]).ljust(504, b"\0")
        blocks += (block + bytes([more])).ljust(BLOCK, b"\0")
    check(bytes(first) + blocks)


def check(stream: bytes) -> None:
    """Read it: segments that fit, or one of the two errors a layer may end with."""
    reader = TarReader(iter([stream + t.END]), LIMITS)
    try:
        for entry in reader:
            end = 0
            for offset, length in entry.segments or ():
                assert offset >= end
                assert length > 0
                end = offset + length
            assert end <= entry.size
            for at, piece in reader.data():
                assert at + len(piece) <= entry.size
    except (InvalidLayer, LayerLimitExceeded):
        return
