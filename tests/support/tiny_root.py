"""A root file system of a few megabytes that runs: a shell and small programs of this machine, with their
libraries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.support.programs import require_program

PROGRAMS = [
    "sh",
    "cat",
    "chmod",
    "chown",
    "cp",
    "env",
    "false",
    "head",
    "hostname",
    "id",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mknod",
    "mv",
    "readlink",
    "rm",
    "rmdir",
    "sleep",
    "stat",
    "stty",
    "touch",
    "true",
    "tty",
    "wc",
]
PASSWD = "root:x:0:0:root:/root:/bin/sh\nalice:x:1234:5678:Alice:/home/alice:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:50:alice\nalice:x:5678:\n"
_TIME = 1_600_000_000


def make_tiny_root(folder: Path) -> Path:
    """A tar of the tree, the same bytes for the same machine."""
    root = folder / "root"
    for name in (
        "bin",
        "dev",
        "etc",
        "home/alice",
        "proc",
        "root",
        "sys",
        "tmp",
        "usr/share/doc",
        "var/empty",
    ):
        (root / name).mkdir(parents=True)
    for name in PROGRAMS:
        program = Path(require_program(name)).resolve()
        shutil.copy2(program, root / "bin" / name)
        for library in _libraries(program):
            target = root / library.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copy2(library.resolve(), target)
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text(GROUP)
    (root / "etc/issue").write_text("tiny\n")
    (root / "usr/share/doc/one").write_text("1\n")
    (root / "usr/share/doc/two").write_text("22\n")
    (root / "var/link").symlink_to("/etc/passwd")
    (root / "tmp").chmod(0o1777)
    archive = folder / "tiny-root.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            entry = tar.gettarinfo(path, str(path.relative_to(root)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = _TIME
            if entry.isreg():
                with path.open("rb") as file:
                    tar.addfile(entry, file)
            else:
                tar.addfile(entry)
    shutil.rmtree(root)
    return archive


def _libraries(program: Path) -> list[Path]:
    """What the dynamic linker would load, and the linker itself."""
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False, env=env)
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", done.stdout)]
