"""What a release makes is what users install."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.server import clean_env

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "somebody"), ("EMAIL", "somebody@example.org"))
}


def out(*argv: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, cwd=cwd, env={**clean_env(), **(env or {})}, capture_output=True, text=True, check=False,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, (argv, done.stdout[-2_000:], done.stderr[-4_000:])
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project as it stands here, in a repository of its own."""
    folder = tmp_path / "clone"
    files = out("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    out("git", "init", "--quiet", "--initial-branch", "main", cwd=folder)
    out("git", "add", "--all", cwd=folder)
    out("git", "commit", "--quiet", "--message", "all", cwd=folder, env=AUTHOR)
    return folder


def test_a_release_is_tagged_and_what_it_made_installs(clone: Path, tmp_path: Path) -> None:
    release = [sys.executable, clone / "scripts" / "release.py", "9.8.7", "--without-images"]
    (clone / "left.txt").write_text("not committed")
    refused = subprocess.run(release, cwd=clone, capture_output=True, text=True, check=False, timeout=60)
    assert (refused.returncode, "not committed" in refused.stderr) == (1, True)
    (clone / "left.txt").unlink()

    out(*release, "--output", tmp_path / "dist", cwd=clone, env=AUTHOR)
    assert out("git", "describe", "--exact-match", cwd=clone) == "v9.8.7\n"
    assert out("git", "status", "--porcelain", cwd=clone) == ""
    assert "## 9.8.7 (" in (clone / "CHANGELOG.md").read_text()
    assert [path.name for path in (clone / "news").glob("*.md")] == []

    dist = tmp_path / "dist"
    wheel, sdist = dist / "entrepot-9.8.7-py3-none-any.whl", dist / "entrepot-9.8.7.tar.gz"
    sums = (dist / "SHA256SUMS").read_text().splitlines()
    assert sums == [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in (wheel, sdist)
    ]
    source = {str(path.relative_to(clone / "src")) for path in (clone / "src").rglob("*") if path.is_file()}
    source = {name for name in source if "__pycache__" not in name}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == source
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {f"src/{name}" for name in source} <= names

    place = tmp_path / "fresh"
    out(sys.executable, "-m", "venv", place, cwd=tmp_path)
    pip = [place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    out(*pip, wheel, cwd=tmp_path)
    program, store = place / "bin" / "entrepot", {"ENTREPOT_STORE": str(tmp_path / "store")}
    assert out(program, "--version", cwd=tmp_path) == "entrepot version 9.8.7\n"
    assert out(program, "images", cwd=tmp_path, env=store).startswith("REPOSITORY")
    lacking = subprocess.run(
        [program, "serve"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert "pip install 'entrepot[server]'" in lacking.stderr
    out(*pip, "--no-deps", "--force-reinstall", sdist, cwd=tmp_path)
    assert out(program, "--version", cwd=tmp_path) == "entrepot version 9.8.7\n"
