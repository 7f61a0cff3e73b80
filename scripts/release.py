"""A release: version, changelog, commit, tag, and everything users install, with checksums.

    make release VERSION=0.2.0
    .venv/bin/python scripts/release.py 0.2.0 [--output dist] [--without-images]

The tree has to be clean, so that what is built is what is tagged. `news/` goes into CHANGELOG.md, the
version into `entrepot.__version__`; both are committed and tagged `vVERSION`. Then `dist/` gets the wheel,
the sdist, an image of each platform (scripts/image.py) and SHA256SUMS. Nothing is published: pushing the
tag and the files is a person's step. Where something fails after the commit, `git reset --hard HEAD~ && git
tag -d vVERSION` undoes it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "src" / "entrepot" / "__init__.py"
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
_LINE = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Make a release of entrepot.")
    parser.add_argument("version", help="such as 0.2.0 or 1.0.0rc1")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--without-images", action="store_true", help="wheel and sdist only")
    said = parser.parse_args(argv)
    if refusal := reason_against(said.version):
        print(f"release: {refusal}", file=sys.stderr)
        return 1
    PLACE.write_text(_LINE.sub(f'__version__ = "{said.version}"', PLACE.read_text()))
    run(sys.executable, "-m", "towncrier", "build", "--yes", "--version", said.version)
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", f"release {said.version}")
    run("git", "tag", "--annotate", f"v{said.version}", "--message", f"entrepot {said.version}")
    said.output.mkdir(parents=True, exist_ok=True)
    run(sys.executable, "-m", "build", "--outdir", str(said.output))
    if not said.without_images:
        run(sys.executable, str(ROOT / "scripts" / "image.py"), "--output", str(said.output))
    write_checksums(said.output, said.version)
    print(
        f"{said.output} has what v{said.version} is. Look at it, then: git push origin HEAD v{said.version}"
    )
    return 0


def reason_against(version: str) -> str | None:
    """Why this can't be released; None when it can."""
    if not _VERSION.fullmatch(version):
        return f"{version!r} is no version; it looks like 0.2.0 or 1.0.0rc1"
    if asked("git", "status", "--porcelain"):
        return "there are changes that are not committed; commit them, or remove them, first"
    if asked("git", "tag", "--list", f"v{version}"):
        return f"v{version} is there already"
    return None


def write_checksums(folder: Path, version: str) -> None:
    """As `sha256sum -c` reads them."""
    files = sorted(path for path in folder.iterdir() if version in path.name)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def asked(*argv: str) -> str:
    return subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def run(*argv: str) -> None:
    subprocess.run(argv, cwd=ROOT, check=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
