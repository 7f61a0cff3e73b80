"""What compilers write into programs: Go's build information, cargo-auditable's list of crates.

Go: debug/buildinfo; the strings stand in the section since 1.18, before they are pointed to.
Rust: section `.dep-v0`, JSON compressed with zlib.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from entrepot.inventory.packages.documents import json_object
from entrepot.inventory.packages.elf import Elf
from entrepot.inventory.packages.package import Ecosystem, Evidence, EvidenceTooLarge, Package

_GO_MAGIC = b"\xff Go buildinf:"
_STAMPED = re.compile(r"-X[= ]'?[\w./-]{1,200}[vV]ersion=v?([0-9][\w.+-]{0,100})")
"""A program's own version, which its makers give to the linker: the module itself is `(devel)`."""
_MAX_GO_BYTES = 16 << 20
_MAX_CRATES_BYTES = 8 << 20


def read_program(_path: str, data: bytes | bytearray) -> Evidence:
    """Modules and crates in an ELF file; usually there are none."""
    elf = Elf(data)
    if b".go.buildinfo" in elf.sections:
        return Evidence(tuple(_go_modules(elf)))
    if b".dep-v0" in elf.sections:
        return Evidence(tuple(_crates(elf.section(b".dep-v0", _MAX_CRATES_BYTES))))
    return Evidence()


def _go_modules(elf: Elf) -> Iterator[Package]:
    info = elf.section(b".go.buildinfo", _MAX_GO_BYTES)
    if not info.startswith(_GO_MAGIC) or len(info) < 32:
        return
    if info[15] & 2:
        version, at = _counted(info, 32)
        modules, _ = _counted(info, at)
    else:
        size = info[14]
        version = _pointed(elf, elf.pointer(info[16 : 16 + size]))
        modules = _pointed(elf, elf.pointer(info[16 + size : 16 + 2 * size]))
    number = version.decode("utf-8", "replace").partition(" ")[0]
    if number.startswith("go"):
        yield Package(Ecosystem.GOLANG, "stdlib", number.removeprefix("go"))
    if len(modules) >= 33 and modules[-17] == 0x0A:
        yield from _listed(modules[16:-16].decode("utf-8", "replace"))


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    """A string behind its length as a varint, and where it ends."""
    length = shift = 0
    while at < len(data) and shift < 35:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return data[at : at + length], at + length


def _pointed(elf: Elf, address: int) -> bytes:
    size = elf.pointer_bytes
    header = elf.at(address, 2 * size)
    return elf.at(elf.pointer(header), min(elf.pointer(header[size:]), _MAX_GO_BYTES))


def _listed(text: str) -> Iterator[Package]:
    modules: list[tuple[str, str]] = []
    stamped = _STAMPED.search(text)
    for line in text.split("\n"):
        kind, _, rest = line.partition("\t")
        name, _, version = rest.partition("\t")
        version = version.partition("\t")[0]
        if kind == "mod" and version == "(devel)" and stamped:
            version = f"v{stamped[1]}"
        if kind in ("mod", "dep") and name:
            modules.append((name, version))
        elif kind == "=>" and name and modules:
            modules[-1] = (name, version)
    for name, version in dict.fromkeys(modules):
        yield Package(Ecosystem.GOLANG, name, version)


def _crates(data: bytes) -> Iterator[Package]:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, _MAX_CRATES_BYTES)
    except zlib.error:
        return
    if inflater.unconsumed_tail:
        raise EvidenceTooLarge(f"a list of crates of more than {_MAX_CRATES_BYTES} bytes")
    for item in json_object(plain).get("packages") or ():
        if not isinstance(item, dict) or item.get("kind", "runtime") != "runtime":
            continue
        name, version = item.get("name"), item.get("version")
        if isinstance(name, str) and isinstance(version, str) and name and version:
            yield Package(Ecosystem.CARGO, name, version)
