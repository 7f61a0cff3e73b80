"""entrepot's own image: Debian packages below, Python packages on top, put together by entrepot itself.

    .venv/bin/python scripts/image.py [--platform linux/amd64]… [--output dist]

One OCI archive a platform, for `entrepot load` or, all platforms under one name,

    entrepot manifest create --push REGISTRY/entrepot:0.1.0 oci-archive:dist/entrepot-0.1.0-amd64.oci.tar \\
                                                            oci-archive:dist/entrepot-0.1.0-arm64.oci.tar

Needs apt-get and dpkg-deb of a Debian machine (its sources say which Debian goes in), a container runtime
(crun or runc) and pip's package index; no Docker. No package script is run, so an image for another
platform is put together without being run, and nothing in it depends on who builds it. The same sources and
packages give the same bytes: files are sorted, owned by root and as old as the commit.

Contents: `python3`, `ca-certificates` and what they need as Debian ships it (each package noted in
`/var/lib/dpkg/status.d`, where scanners look), the wheel with `[server]` in Python's own folder for such,
and an account `entrepot` (10001), which owns `/var/lib/entrepot`. No shell, no package manager.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENTREPOT = Path(sys.executable).with_name("entrepot")
PACKAGES = ("python3", "libstdc++6", "ca-certificates", "media-types", "tzdata")
UID = 10001
LEFT_OUT = frozenset(("dpkg", "tar", "perl-base", "debconf", "openssl", "readline-common"))
"""Wanted by scripts, which do not run here, or by who types."""
NO_FILES = re.compile(
    r"usr/share/(man|locale|info|lintian|bug|python3/runtime\.d|doc/[^/]+/(?!copyright))"
    r"|usr/lib/python3\.\d+/(idlelib|tkinter|turtledemo|ensurepip|pydoc_data|lib2to3|distutils)/"
)
ARCHITECTURES = {"linux/amd64": ("amd64", "x86_64"), "linux/arm64": ("arm64", "aarch64")}
"""Platform → its name at Debian and in wheels."""
GLIBC_MINOR = 36
"""Of Debian 12; wheels for any glibc from 2.17 up to it will do."""


@dataclass(frozen=True)
class Build:
    """One run: where it works, and what all platforms share."""

    folder: Path
    epoch: int
    """The latest time of any file, seconds: that of the commit."""
    version: str
    wheel: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def entrepot(self, *args: str) -> str:
        """Raises CalledProcessError."""
        argv = [str(ENTREPOT), "--store", str(self.store), *args]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    @property
    def timestamp(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.epoch))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Make entrepot's own image.")
    parser.add_argument("--platform", action="append", choices=sorted(ARCHITECTURES), help="default: all")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder of the archives")
    said = parser.parse_args(argv)
    said.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="entrepot-image-") as name:
        build = begin(Path(name))
        # This machine's own first: its Python compiles the modules of the others.
        for platform in sorted(said.platform or ARCHITECTURES, key=lambda one: (not is_native(one), one)):
            name = make(build, platform)
            archive = said.output / f"entrepot-{build.version}-{ARCHITECTURES[platform][0]}.oci.tar"
            archive.unlink(missing_ok=True)
            build.entrepot("copy", f"store:{name}", f"oci-archive:{archive}:entrepot:{build.version}")
            print(archive)
    return 0


def begin(folder: Path) -> Build:
    """The wheel, and what git says of the time."""
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False
    )
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or asked.stdout or 0)
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT), env=env)
    (wheel,) = folder.glob("*.whl")
    return Build(folder=folder, epoch=epoch, version=wheel.name.split("-")[1], wheel=wheel)


def pip(*args: str, env: dict[str, str] | None = None) -> None:
    argv = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *args]
    subprocess.run(argv, check=True, env=env)


def make(build: Build, platform: str) -> str:
    """The image of one platform, in the store; its name."""
    debian, machine = ARCHITECTURES[platform]
    name = f"entrepot:{build.version}-{debian}"
    base, programs = build.folder / f"base-{debian}", build.folder / f"programs-{debian}"
    unpack_debian(build, debian, base)
    python = (base / "usr/bin/python3").readlink().name
    at = f"usr/local/lib/{python}/dist-packages"
    install(build, machine, python.removeprefix("python"), programs / at)
    add_program(programs, python)
    layer(build, base, name, "scratch", platform=platform, message=f"Debian's {', '.join(PACKAGES)}")
    compile_modules(build, python, programs / at, native=name if is_native(platform) else None)
    layer(build, programs, name, name, platform=platform, message=f"entrepot {build.version}")
    build.entrepot(
        "mutate", name, "-t", name, "--created", build.timestamp,
        "--user", f"{UID}:{UID}", "--workdir", "/var/lib/entrepot",
        "--entrypoint", "entrepot", "--cmd", "serve",
        "-e", "PATH=/usr/local/bin:/usr/bin", "-e", "ENTREPOT_SERVER_DATA=/var/lib/entrepot",
        "-e", "ENTREPOT_SERVER_LISTEN=:5000", "-c", "EXPOSE 5000", "-c", "VOLUME /var/lib/entrepot",
        "-c", "STOPSIGNAL SIGTERM",
        "-l", "org.opencontainers.image.title=entrepot",
        "-l", "org.opencontainers.image.description=A container registry and a daemonless image tool",
        "-l", f"org.opencontainers.image.version={build.version}",
        "-l", "org.opencontainers.image.licenses=Apache-2.0",
    )  # fmt: skip
    return name


# --- Debian's part --------------------------------------------------------------------------------------


def unpack_debian(build: Build, debian: str, root: Path) -> None:
    """The files of PACKAGES and what they depend on, without running any of their scripts."""
    state = build.folder / f"apt-{debian}"
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    options = {
        "Dir::State::Lists": state / "lists", "Dir::State::status": state / "status",
        "Dir::Cache::Archives": state / "archives", "Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": "",
        "APT::Architecture": debian, "APT::Architectures::": debian, "Acquire::Languages": "none",
        "APT::Sandbox::User": "root", "Debug::NoLocking": "1",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run(
        [*apt, "install", "-y", "--no-install-recommends", "--download-only", *PACKAGES], check=True
    )
    root.mkdir()
    for name in ("bin", "sbin", "lib", "lib64"):
        # As debootstrap makes them: Debian's files are below usr, whatever their packages say.
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted((state / "archives").glob("*.deb")):
        unpack_package(package, root)
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_text("".join(path.read_text() for path in certificates))
    write(root / "etc/passwd", f"root:x:0:0:root:/:/none\nentrepot:x:{UID}:{UID}::/var/lib/entrepot:/none\n")
    write(root / "etc/group", f"root:x:0:\nentrepot:x:{UID}:\n")
    write(root / "etc/nsswitch.conf", "hosts: files dns\n")


def unpack_package(package: Path, root: Path) -> None:
    name = package.name.split("_")[0]
    if name in LEFT_OUT:
        return
    files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    with files, tarfile.open(fileobj=files.stdout, mode="r|") as tar:
        for member in tar:
            member.name = member.name.removeprefix("./")
            if member.name and not NO_FILES.match(member.name):
                unpack_member(tar, member, root)
    if files.returncode:
        raise subprocess.CalledProcessError(files.returncode, files.args)
    control = subprocess.run(["dpkg-deb", "-f", str(package)], check=True, stdout=subprocess.PIPE).stdout
    status = root / "var/lib/dpkg/status.d" / name
    status.parent.mkdir(parents=True, exist_ok=True)
    status.write_bytes(control)


def unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    """Through the links of the root, which `extract` would replace by folders. Packages are trusted."""
    path = root / member.name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        os.link(root / member.linkname.removeprefix("./"), path)
    else:
        content = tar.extractfile(member)
        assert content is not None, member.name
        with path.open("wb") as file:
            shutil.copyfileobj(content, file)
        path.chmod(0o755 if member.mode & 0o100 else 0o644)  # nothing with more rights than its caller


# --- Python's part --------------------------------------------------------------------------------------


def install(build: Build, machine: str, python: str, at: Path) -> None:
    """The wheel and the wheels it needs; nothing is built, so the machine may be another one."""
    glibc = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, 16, -1)]
    pip(
        "install", "--target", str(at), "--no-compile", "--only-binary=:all:", "--implementation", "cp",
        "--python-version", python, *(f"--platform={name}" for name in (*glibc, f"manylinux2014_{machine}")),
        f"{build.wheel}[server]",
    )  # fmt: skip
    shutil.rmtree(at / "bin", ignore_errors=True)
    for info in at.glob("*.dist-info"):
        # They would say which folder the wheel was built in.
        for name in ("direct_url.json", "REQUESTED", "RECORD"):
            (info / name).unlink(missing_ok=True)


def add_program(root: Path, python: str) -> None:
    program = root / "usr/local/bin/entrepot"
    write(program, f"#!/usr/bin/{python}\nfrom entrepot.cli.program import run\n\nrun()\n")
    program.chmod(0o755)
    (root / "var/lib/entrepot").mkdir(parents=True)
    (root / "tmp").mkdir()


def compile_modules(build: Build, python: str, at: Path, *, native: str | None) -> None:
    """Compiled modules are the same on every platform; without them each start would compile everything.

    The image's own Python does it; for another platform, that of the image made for this one.
    """
    image = native or f"entrepot:{build.version}-base"
    if native is not None:
        build.entrepot("tag", native, f"entrepot:{build.version}-base")
    build.entrepot(
        "run", "--rm", "--network", "none", "-v", f"{at}:/modules", "-e", "PYTHONHASHSEED=0", image,
        f"/usr/bin/{python}", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
        "-s", "/modules", "-p", f"/usr/local/lib/{python}/dist-packages", "/modules",
    )  # fmt: skip


# --- layers ---------------------------------------------------------------------------------------------


def layer(build: Build, root: Path, target: str, below: str, *, platform: str, message: str) -> None:
    tar = build.folder / "layer.tar"
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in below_folder(root):
            archive.add(
                path, str(path.relative_to(root)), recursive=False, filter=lambda one: owned(build, one)
            )
    own = ["--platform", platform] if below == "scratch" else []
    build.entrepot(
        "append", *own, "-t", target, "-m", message, "--timestamp", build.timestamp, below, str(tar)
    )
    tar.unlink()


def below_folder(root: Path) -> Iterator[Path]:
    yield from sorted(
        path for path in root.rglob("*") if not (path.is_symlink() and not path.parent.exists())
    )


def owned(build: Build, member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = build.epoch
    member.mode = 0o777 if member.issym() else 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    if member.name == "var/lib/entrepot":
        member.uid = member.gid = UID
        member.mode = 0o700
    elif member.name == "tmp":
        member.mode = 0o1777
    return member


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def is_native(platform: str) -> bool:
    return ARCHITECTURES[platform][1] == os.uname().machine


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
