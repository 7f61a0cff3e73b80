"""What a file is, by its first bytes. Nothing here is believed: it decides only what a page says or shows."""

from __future__ import annotations

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_ARCHIVES = (
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"PK\x03\x04", "zip archive"),
    (b"!<arch>\n", "ar archive"),
    (b"SQLite format 3\0", "SQLite database"),
    (b"\xca\xfe\xba\xbe", "Java class"),
)
_MACHINES = {3: "x86", 8: "MIPS", 20: "PowerPC", 21: "PowerPC 64", 22: "S/390", 40: "ARM", 62: "x86-64",
             183: "ARM 64", 243: "RISC-V", 258: "LoongArch"}  # fmt: skip
_KINDS = {1: "object file", 2: "program", 3: "program or shared library", 4: "core dump"}


def image_type(head: bytes) -> str | None:
    """The media type of a picture that browsers show and that can hold no script: PNG, JPEG, GIF, WebP."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _IMAGES if head.startswith(magic)), None)


def describe(head: bytes) -> str:
    """In words, from at least 64 bytes where there are so many; empty when nothing is known."""
    if head.startswith(b"#!"):
        program = head[2:].split(b"\n", 1)[0].strip().decode("ascii", "replace")
        return f"script for {program[:80]}"
    if head.startswith(b"\x7fELF") and len(head) >= 20:
        order = "little" if head[5] == 1 else "big"
        kind = int.from_bytes(head[16:18], order)  # type: ignore[arg-type]
        machine = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]
        bits = {1: "32", 2: "64"}.get(head[4], "?")
        return f"ELF {bits}-bit {_KINDS.get(kind, 'file')}, {_MACHINES.get(machine, f'machine {machine}')}"
    if head[257:262] == b"ustar":
        return "tar archive"
    return next((words for magic, words in _ARCHIVES if head.startswith(magic)), "")
