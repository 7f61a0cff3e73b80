"""Reading layers in a process of its own: what is read is hostile, and the process has limits.

`python -m entrepot.inventory.files.process MODE`: a request and then bytes on standard input, an answer on
standard output. What can't be read ends with 3 and one line of JSON on standard error.

    list      a layer as it is stored           → its list, with an end
    view      lists, one after the other        → the image's view
    content   a layer as it is stored           → contents of the files that the request names, joined
"""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec
from msgspec import Struct

from entrepot.errors import EntrepotError
from entrepot.inventory.files.entries import LayerEntry, What, read_layer
from entrepot.inventory.files.stored import (
    ListEnd,
    decode_list,
    encode_end,
    encode_list,
    encode_view,
)
from entrepot.inventory.files.tree import Tree
from entrepot.layers.compression import hashed, plain_chunks
from entrepot.layers.entry import Segment

REFUSED = 3
"""The content can't be read; everything else that is not 0 is the process's own end."""


class Limits(Struct, frozen=True):
    """What one process may use."""

    memory_bytes: int
    cpu_s: int
    nice: int = 10


class WantedFile(Struct, frozen=True):
    """Part of a file in a layer's tar."""

    offset: int
    """Where its data begins in the uncompressed tar."""
    size: int
    segments: tuple[Segment, ...] | None = None


class ReadRequest(Struct):
    """The first thing on standard input."""

    limits: Limits
    lists: list[int] = []
    """Bytes of each list that follows; of `view`."""
    wanted: list[WantedFile] = []
    """In the order of their offsets; of `content`."""
    max_nodes: int = 2_000_000


def packed(request: ReadRequest) -> bytes:
    """As the process reads it."""
    data = msgspec.msgpack.encode(request)
    return len(data).to_bytes(4, "little") + data


def main(mode: str, source: BinaryIO, out: BinaryIO) -> None:
    """Raises EntrepotError for what can't be read."""
    request = msgspec.msgpack.decode(source.read(int.from_bytes(source.read(4), "little")), type=ReadRequest)
    _limit(request.limits)
    _MODES[mode](request, source, out)
    out.flush()


def _limit(limits: Limits) -> None:
    import os

    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    for kind, most in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 32)):
        resource.setrlimit(kind, (most, most))
    os.nice(limits.nice)


def _list(_request: ReadRequest, source: BinaryIO, out: BinaryIO) -> None:
    hasher = hashlib.sha256()
    count = size = 0

    def counted(chunks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            size += len(chunk)
            yield chunk

    def entries() -> Iterator[LayerEntry]:
        nonlocal count
        for entry in read_layer(counted(hashed(plain_chunks(source), hasher)), digests=True):
            count += 1
            yield entry

    out.writelines(encode_list(entries()))
    out.write(encode_end(ListEnd(f"sha256:{hasher.hexdigest()}", count, size)))


def _view(request: ReadRequest, source: BinaryIO, out: BinaryIO) -> None:
    tree = Tree(max_nodes=request.max_nodes)
    sizes = []
    for layer, length in enumerate(request.lists):
        entries = list(decode_list(source.read(length)))
        tree.apply(entries, layer)
        sizes.append(sum(entry.size for entry in entries if entry.what is What.FILE))
    out.write(encode_view(tree, sizes))


_ZEROS = bytes(1 << 20)


def _content(request: ReadRequest, source: BinaryIO, out: BinaryIO) -> None:
    at = 0
    chunks = plain_chunks(source)
    rest = memoryview(b"")

    def take(begin: int, length: int, write: Callable[[memoryview], object]) -> None:
        nonlocal at, rest
        while length:
            if not len(rest):
                chunk = next(chunks, None)
                if chunk is None:
                    raise EntrepotError("the layer ends before the file's content")
                rest = memoryview(chunk)
            if at < begin:
                passed = min(begin - at, len(rest))
                rest, at = rest[passed:], at + passed
                continue
            piece = rest[:length]
            write(piece)
            rest, at, length = rest[len(piece) :], at + len(piece), length - len(piece)

    for wanted in request.wanted:
        segments = ((0, wanted.size),) if wanted.segments is None else wanted.segments
        written, position = 0, wanted.offset
        for start, length in segments:
            _write_zeros(out, start - written)
            take(position, length, out.write)
            written, position = start + length, position + length
        _write_zeros(out, wanted.size - written)


def _write_zeros(out: BinaryIO, count: int) -> None:
    while count > 0:
        out.write(_ZEROS[:count])
        count -= len(_ZEROS)


_MODES = {"list": _list, "view": _view, "content": _content}

if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
    except EntrepotError as error:
        sys.stderr.buffer.write(msgspec.json.encode({"code": error.code, "message": error.message}))
        sys.exit(REFUSED)
    except MemoryError:
        sys.stderr.write('{"code": "layer-limit-exceeded", "message": "reading it takes too much memory"}')
        sys.exit(REFUSED)
    except BrokenPipeError:
        sys.exit(1)
