"""A container's log, and what a monitor and its starter say to each other."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.actions.logs import parse_moment
from entrepot.containers.attach import DetachKeys
from entrepot.containers.errors import InvalidOption
from entrepot.containers.frames import FrameKind, FrameParser
from entrepot.containers.logs import LogQuery, LogWriter, read_log


def written(path: Path, *pieces: tuple[str, bytes]) -> Path:
    log = LogWriter(path)
    for stream, data in pieces:
        log.write(stream, data)
    log.close()
    return path


def test_lines_are_kept_as_docker_keeps_them(tmp_path: Path) -> None:
    path = written(tmp_path / "log", ("stdout", b"one\ntw"), ("stderr", b"bad\xff\n"), ("stdout", b"o\nend"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["stream"], row["log"]) for row in rows] == [
        ("stdout", "one\n"), ("stderr", "bad\ufffd\n"), ("stdout", "two\n"), ("stdout", "end"),
    ]  # fmt: skip
    assert list(rows[0]) == ["log", "stream", "time"]
    assert datetime.fromisoformat(rows[0]["time"][:26] + "+00:00").tzinfo is UTC


def test_a_long_line_is_cut_into_records(tmp_path: Path) -> None:
    path = written(tmp_path / "log", ("stdout", b"x" * 40_000 + b"\n"))
    assert [len(record.log) for record in read_log(path)] == [16384, 16384, 40_001 - 2 * 16384]


def test_the_tail_and_a_cut_record_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "log", ("stdout", b"1\n2\n3\n"))
    with path.open("ab") as file:
        file.write(b'{"log":"4\\n","stream":"std')  # its writer was killed
    assert [record.log for record in read_log(path, LogQuery(tail=2))] == ["2\n", "3\n"]
    assert list(read_log(tmp_path / "none")) == []


def test_the_last_records_are_found_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        for number in range(300):
            row = {"log": f"{number} " + "x" * (number * 997 % 16384), "stream": "stdout", "time": ""}
            file.write(json.dumps(row).encode() + b"\n" + b'{"log":"cut\n' * (number % 7 == 0))
    everything = [record.log for record in read_log(path)]
    assert len(everything) == 300
    for count in (0, 1, 2, 7, 150, 299, 300, 301):
        assert [record.log for record in read_log(path, LogQuery(tail=count))] == everything[
            max(300 - count, 0) :
        ]


def test_the_tail_of_a_large_log_takes_little_memory(tmp_path: Path) -> None:
    row = {"log": "x" * 100, "stream": "stdout", "time": ""}
    (tmp_path / "log").write_bytes((json.dumps(row).encode() + b"\n") * 50_000)
    tracemalloc.start()
    try:
        assert len(list(read_log(tmp_path / "log", LogQuery(tail=10)))) == 10
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_following_ends_with_what_was_written_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogWriter(path)
    log.write("stdout", b"1\n")
    rounds = iter([True, False])

    def goes_on() -> bool:
        more = next(rounds)
        log.write("stdout", b"2\n" if more else b"3\n")
        return more

    assert [record.log for record in read_log(path, follow=goes_on)] == ["1\n", "2\n", "3\n"]
    log.close()


def test_moments_are_read() -> None:
    now = datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert parse_moment("1h30m", now) == datetime(2024, 1, 1, 10, 30, tzinfo=UTC)
    assert parse_moment("1700000000", now) == datetime.fromtimestamp(1700000000, UTC)
    assert parse_moment("2023-12-31T00:00:00Z", now) == datetime(2023, 12, 31, tzinfo=UTC)
    with pytest.raises(InvalidOption):
        parse_moment("soon", now)


frames = st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(max_size=300)), max_size=6)


@given(frames, st.integers(1, 50))
def test_frames_are_put_together_from_any_pieces(sent: list[tuple[FrameKind, bytes]], step: int) -> None:
    data = b"".join(kind.value + len(body).to_bytes(4, "big") + body for kind, body in sent)
    parser = FrameParser()
    got = [frame for at in range(0, len(data), step) for frame in parser.feed(data[at : at + step])]
    assert got == sent


def test_a_frame_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        list(FrameParser().feed(b"o\xff\xff\xff\xff"))


@pytest.mark.parametrize(
    ("pieces", "passed_on", "left"),
    [
        ([b"ls\n"], b"ls\n", False),
        ([b"ls\n\x10\x11rest"], b"ls\n", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"a\x10", b"b"], b"a\x10b", False),
        ([b"\x10\x10", b"\x11"], b"\x10", True),
        ([b"\x11\x10", b"\x10", b"x"], b"\x11\x10\x10x", False),
    ],
    ids=["text", "at once", "apart", "ctrl-p alone", "ctrl-p twice", "the wrong way round"],
)
def test_detach_keys_are_found_and_nothing_else_is_kept(
    pieces: list[bytes], passed_on: bytes, left: bool
) -> None:
    keys = DetachKeys()
    results = [keys.feed(piece) for piece in pieces]
    assert (b"".join(text for text, _ in results), results[-1][1]) == (passed_on, left)


def test_other_keys_detach_and_their_beginnings_are_held_back() -> None:
    keys = DetachKeys(b"\x18q")
    assert keys.feed(b"a\x18") == (b"a", False)
    assert keys.feed(b"b\x10\x11") == (b"\x18b\x10\x11", False)
    assert keys.feed(b"\x18") == (b"", False)
    assert keys.feed(b"qrest") == (b"", True)
    twice = DetachKeys(b"aab")
    assert twice.feed(b"aaa") == (b"a", False)
    assert twice.feed(b"b") == (b"", True)
