"""The documentation as a site: no broken links, nothing fetched from elsewhere, every page to be found."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import clean_env

ROOT = Path(__file__).resolve().parents[2]
_ASSET = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^>]*>")


def built(project: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(
        argv, cwd=project, env=clean_env() | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False, timeout=150,
    )  # fmt: skip


def test_the_site_is_whole_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = built(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "index.html").read_text()
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    for page in pages - {Path("README.html")}:
        assert f'href="{page}"' in home, page
    for path in tmp_path.rglob("*.html"):
        assert _ASSET.findall(path.read_text()) == [], path
    for path in tmp_path.rglob("*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//", path.read_text()) == [], path


@pytest.mark.parametrize("link", ["[gone](gone.md)", "[gone](serve.md#gone)"])
def test_a_broken_link_is_an_error(link: str, tmp_path: Path) -> None:
    for name in ("mkdocs.yml", "docs", "scripts"):
        place = ROOT / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, tmp_path / name)
    page = tmp_path / "docs" / "pull.md"
    page.write_text(page.read_text() + f"\n{link}\n")
    done = built(tmp_path, tmp_path / "site")
    assert (done.returncode, "gone" in done.stderr) == (1, True)
