"""Which files say what packages there are, by name; each with its reader and how much of it is read."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from entrepot.inventory.packages import apk, binaries, dpkg, java, npm, osrelease, php, python, rpm, ruby
from entrepot.inventory.packages.package import Evidence

MIB = 1 << 20


class Reader(Struct, frozen=True):
    """One kind of evidence."""

    read: Callable[[str, bytes], Evidence]
    """Path (without leading `/`) and bytes to packages. Raises InvalidEvidence, EvidenceTooLarge."""
    max_bytes: int
    """A larger file is told and passed over."""
    is_lock: bool = False
    """Says what would be installed; counts only where nothing is (see `merge`)."""
    magic: bytes = b""
    """What the file must begin with to be read at all; others of its name are passed over silently."""


_EXACT: dict[str, Reader] = {
    "var/lib/dpkg/status": Reader(dpkg.read_status, 64 * MIB),
    "lib/apk/db/installed": Reader(apk.read_installed, 64 * MIB),
    "usr/lib/apk/db/installed": Reader(apk.read_installed, 64 * MIB),
    "etc/os-release": Reader(osrelease.read_release, MIB),
    "usr/lib/os-release": Reader(osrelease.read_release, MIB),
}
for _folder in ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"):
    _EXACT[f"{_folder}/rpmdb.sqlite"] = Reader(rpm.read_sqlite, 512 * MIB)
    _EXACT[f"{_folder}/Packages.db"] = Reader(rpm.read_ndb, 512 * MIB)
    _EXACT[f"{_folder}/Packages"] = Reader(rpm.read_berkeley, 512 * MIB)

_METADATA = Reader(python.read_metadata, 4 * MIB)
_BASE: dict[str, Reader] = {
    "package.json": Reader(npm.read_package, 4 * MIB),
    "package-lock.json": Reader(npm.read_lock, 64 * MIB, is_lock=True),
    "npm-shrinkwrap.json": Reader(npm.read_lock, 64 * MIB, is_lock=True),
    "yarn.lock": Reader(npm.read_yarn, 16 * MIB, is_lock=True),
    "pnpm-lock.yaml": Reader(npm.read_pnpm, 16 * MIB, is_lock=True),
    "installed.json": Reader(php.read_composer, 64 * MIB),
    "composer.lock": Reader(php.read_composer, 64 * MIB, is_lock=True),
    "Gemfile.lock": Reader(ruby.read_lock, 16 * MIB, is_lock=True),
}
_ARCHIVE = Reader(java.read_archive, 512 * MIB, magic=b"PK")
_SUFFIX: tuple[tuple[str, Reader], ...] = (
    (".egg-info", _METADATA),
    (".gemspec", Reader(ruby.read_specification, MIB)),
    *((suffix, _ARCHIVE) for suffix in java.SUFFIXES),
)
_LIST = Reader(dpkg.read_file_list, 64 * MIB)
_STATUS = Reader(dpkg.read_status, MIB)
_COPYRIGHT = Reader(dpkg.read_copyright, 4 * MIB)
_PROGRAM = Reader(binaries.read_program, 512 * MIB, magic=b"\x7fELF")
MIN_PROGRAM_BYTES = 4096


def reader_of(path: str, mode: int, size: int) -> Reader | None:
    """For a regular file; None for most."""
    found = _EXACT.get(path)
    if found is not None:
        return found
    folder, _, base = path.rpartition("/")
    found = _BASE.get(base)
    if found is not None:
        return found if base != "installed.json" or folder.endswith("composer") else None
    if base in ("METADATA", "PKG-INFO"):
        return _METADATA if folder.lower().endswith((".dist-info", ".egg-info", "egg-info")) else None
    for suffix, reader in _SUFFIX:
        if base.endswith(suffix):
            return (
                reader if suffix != ".gemspec" or folder.endswith("specifications") or "/" in folder else None
            )
    return _of_dpkg(folder, base) or (_PROGRAM if _is_program(base, mode, size) else None)


def _of_dpkg(folder: str, base: str) -> Reader | None:
    if folder == "var/lib/dpkg/info":
        return _LIST if base.endswith(".list") else None
    if folder == "var/lib/dpkg/status.d":
        return None if base.endswith(".md5sums") else _STATUS
    if base == "copyright" and folder.startswith("usr/share/doc/"):
        return _COPYRIGHT
    return None


def _is_program(base: str, mode: int, size: int) -> bool:
    return size >= MIN_PROGRAM_BYTES and (mode & 0o111 != 0 or ".so" in base)
