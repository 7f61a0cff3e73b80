"""A tar archive as a table of members in a file that can be read at any place.

Nothing is ever unpacked: members are read where they lie. An archive that is compressed or comes from
a pipe is first copied, inflated, into a temporary file that has no name. Names are strict: an entry that
leads out of the archive, or a second file of the same name, makes the whole archive invalid.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from entrepot.archive.errors import InvalidArchive
from entrepot.errors import LimitExceeded, Unavailable
from entrepot.layers.chunks import ChunkBuffer
from entrepot.layers.compression import BZIP2_MAGIC, GZIP_MAGIC, XZ_MAGIC, ZSTD_MAGIC, inflated_chunks
from entrepot.layers.entry import Entry, Kind
from entrepot.layers.errors import InvalidLayer, LayerLimitExceeded
from entrepot.layers.limits import UnpackLimits
from entrepot.layers.tar_reader import TarReader

MAX_MEMBERS: Final = 200_000
MAX_LINKS: Final = 8  # one after another, before it is a loop
LIMITS: Final = UnpackLimits(max_entries=3 * MAX_MEMBERS)

_WINDOW_BYTES: Final = 32 * 1024


class ArchiveLimitExceeded(LimitExceeded):
    """The archive is larger, in some measure, than any archive of images."""

    code = "archive-limit-exceeded"


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file's bytes are."""

    offset: int
    size: int


class MemberStream:
    """Bytes of a member, or of anything in a file, read without moving the file's own position."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._at = offset
        self._end = offset + size

    def read(self, size: int = -1, /) -> bytes:
        left = self._end - self._at
        data = os.pread(self._fd, left if size < 0 else min(size, left), self._at) if left > 0 else b""
        self._at += len(data)
        if size < 0 and data and self._at < self._end:
            return data + self.read()
        return data

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        view = memoryview(buffer)[: self._end - self._at]
        count = os.preadv(self._fd, [view], self._at) if view.nbytes else 0
        self._at += count
        return count

    def close(self) -> None:
        """Nothing to do: the file belongs to the archive."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class TarArchive:
    """Members by name. Close it (`with`); streams end with it. Reading is thread safe."""

    def __init__(self, file: BinaryIO, label: str) -> None:
        """`file` is a plain tar that can be read at any place; it is closed with the archive."""
        self._file = file
        self._fd = file.fileno()
        self.label = label
        self._files: dict[bytes, Member] = {}
        self._links: dict[bytes, bytes] = {}
        self._index()

    @classmethod
    def open(cls, source: Path | str | BinaryIO, *, tmp: Path | None = None) -> TarArchive:
        """Of a path or an open file or pipe; a pipe is read to its end and left open.

        `tmp` is where an inflated copy goes when one is needed. Raises InvalidArchive,
        ArchiveLimitExceeded, OSError when the file can't be opened.
        """
        if isinstance(source, Path | str):
            with Path(source).open("rb") as file:
                return cls._opened(file, str(source), tmp)
        return cls._opened(source, "the input", tmp)

    @classmethod
    def _opened(cls, file: BinaryIO, label: str, tmp: Path | None) -> TarArchive:
        head, rest = _peek(file)
        if not head:
            raise InvalidArchive(f"{label} is empty")
        plain = file if rest is None and not _is_compressed(head) else None
        if plain is not None:
            return _closing_on_error(os.fdopen(os.dup(plain.fileno()), "rb", buffering=0), label)
        stream = _Joined(head if rest is not None else b"", file)
        return _closing_on_error(_spool(inflated_chunks(head, stream, LIMITS), tmp), label)

    def names(self) -> list[str]:
        """Of files and links, in no order that means anything."""
        return [name.decode("utf-8", "replace") for name in (*self._files, *self._links)]

    def find(self, name: str) -> Member | None:
        """By the name as it is written inside of the archive, links followed.

        Raises InvalidArchive for a name, or a link, that leads out of the archive.
        """
        asked = name.encode("utf-8", "surrogateescape")
        wanted = _normal(asked, self.label)
        for _ in range(MAX_LINKS):
            member = self._files.get(wanted)
            if member is not None:
                return member
            target = self._links.get(wanted)
            if target is None:
                return None
            wanted = target
        raise InvalidArchive(f"{self.label}: {_shown(asked)} is a loop of links")

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """A small file whole, None when it is not there. Raises InvalidArchive when it is not small."""
        member = self.find(name)
        if member is None:
            return None
        if member.size > max_bytes:
            raise InvalidArchive(f"{self.label}: {name} has {member.size} bytes; the limit is {max_bytes}")
        return self.stream(member).read()

    def stream(self, member: Member, offset: int = 0) -> MemberStream:
        """The member's bytes from `offset`."""
        return MemberStream(self._fd, member.offset + offset, max(member.size - offset, 0))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _index(self) -> None:
        buffer = _FileBuffer(self._fd)
        reader = TarReader(buffer, LIMITS)
        try:
            for entry in reader:
                self._add(entry, reader.position)
        except LayerLimitExceeded as error:
            raise ArchiveLimitExceeded(f"{self.label}: {_about_archive(error.message)}") from error
        except InvalidLayer as error:
            raise InvalidArchive(
                f"{self.label} is not an archive of images: {_about_archive(error.message)}"
            ) from error

    def _add(self, entry: Entry, offset: int) -> None:
        name = _normal(entry.name, self.label)
        if entry.kind is Kind.DIRECTORY:
            return
        if name in self._files or name in self._links:
            raise InvalidArchive(
                f"{self.label} has two files named {_shown(name)}; programs would disagree which one counts"
            )
        if len(self._files) + len(self._links) >= MAX_MEMBERS:
            raise ArchiveLimitExceeded(f"{self.label} has more than {MAX_MEMBERS} files")
        if entry.kind is Kind.FILE and entry.segments is None:
            self._files[name] = Member(offset, entry.size)
        elif entry.kind is Kind.HARD_LINK:
            self._links[name] = _normal(entry.link, self.label)
        elif entry.kind is Kind.SYMLINK:
            self._links[name] = _resolved(name, entry.link, self.label)
        else:
            raise InvalidArchive(
                f"{self.label}: {_shown(name)} is no plain file, which no archive of images holds"
            )


class _FileBuffer(ChunkBuffer):
    """Reads a file where the tar reader is, and passes over data by not reading it."""

    def __init__(self, fd: int) -> None:
        super().__init__(self._windows())
        self._fd = fd
        self._next = 0
        self._size = os.fstat(fd).st_size

    def _windows(self) -> Iterator[bytes]:
        while data := os.pread(self._fd, _WINDOW_BYTES, self._next):
            self._next += len(data)
            yield data

    def skip(self, size: int) -> None:
        buffered = len(self._chunk) - self._at
        if size <= buffered:
            self._at += size
        else:
            self._next += size - buffered
            if self._next > self._size:
                raise InvalidLayer(f"the layer ends {self._next - self._size} bytes early")
            self._chunk, self._at = memoryview(b""), 0
        self.position += size


class _Joined:
    """What was read of a pipe to look at it, then the rest."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._file.read(size) or b""


def _peek(file: BinaryIO) -> tuple[bytes, bytes | None]:
    """The first bytes; for a file that can't be read at any place they are gone from it (not None)."""
    try:
        fd = file.fileno()
        if stat.S_ISREG(os.fstat(fd).st_mode) and file.tell() == 0:
            return os.pread(fd, len(XZ_MAGIC), 0), None
    except OSError:
        pass  # a stream without a file below it
    head = b""
    while len(head) < len(XZ_MAGIC) and (more := file.read(len(XZ_MAGIC) - len(head))):
        head += more
    return head, head


def _is_compressed(head: bytes) -> bool:
    return head.startswith((GZIP_MAGIC, ZSTD_MAGIC, BZIP2_MAGIC, XZ_MAGIC))


def _spool(chunks: Iterator[bytes], tmp: Path | None) -> BinaryIO:
    """Into a file without a name, which is gone when it is closed, however that happens."""
    try:
        file = tempfile.TemporaryFile(dir=tmp, buffering=0)  # noqa: SIM115 - handed to the caller open
    except OSError as error:
        raise _no_room(tmp, error) from error
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[file.write(view) :]
    except InvalidLayer as error:
        file.close()
        raise InvalidArchive(_about_archive(error.message)) from error
    except LayerLimitExceeded as error:
        file.close()
        raise ArchiveLimitExceeded(_about_archive(error.message)) from error
    except OSError as error:
        file.close()
        raise _no_room(tmp, error) from error
    except BaseException:
        file.close()
        raise
    return file


def _no_room(tmp: Path | None, error: OSError) -> Unavailable:
    return Unavailable(
        f"the archive can't be copied to {tmp or tempfile.gettempdir()}: {error.strerror}",
        hint="make room there, or set TMPDIR to a place that has it",
    )


def _closing_on_error(file: BinaryIO, label: str) -> TarArchive:
    try:
        return TarArchive(file, label)
    except BaseException:
        file.close()
        raise


def _normal(name: bytes, label: str) -> bytes:
    """One spelling for one place; empty for the root. Raises InvalidArchive outside of it."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if name.startswith(b"/") or b".." in parts or b"\0" in name:
        raise InvalidArchive(f"{label}: {_shown(name)} leads out of the archive")
    return b"/".join(parts)


def _resolved(name: bytes, target: bytes, label: str) -> bytes:
    """Where a symbolic link leads, by its text alone."""
    parts = [] if target.startswith(b"/") else name.split(b"/")[:-1]
    for part in target.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidArchive(f"{label}: the link {_shown(name)} leads out of the archive")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _shown(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii")
    return text if len(text) <= 100 else text[:97] + "..."


def _about_archive(message: str) -> str:
    return message.replace("the layer", "the archive")
