"""`scan` from the command line."""

import json
from pathlib import Path

import pytest

from entrepot.actions.scan import default_cache, scan
from entrepot.cli.main import main
from tests.support.images import image
from tests.unit.actions.test_inventory import BASE, TOP, write_archive
from tests.unit.inventory.test_advisories import SPAN, TRACKER, osv


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "app.tar", image([BASE, TOP]))


@pytest.fixture
def advisories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "advisories"
    folder.mkdir()
    (folder / "six.json").write_text(
        json.dumps(osv("PYSEC-1", "PyPI", "six", *SPAN, database_specific={"severity": "HIGH"}))
    )
    (folder / "debian.json").write_text(json.dumps({"bash": TRACKER["openssl"]}))
    return folder


@pytest.mark.parametrize(
    ("fail_on", "code"), [(None, 0), ("critical", 0), ("high", 2), ("medium", 2), ("negligible", 2)]
)
def test_the_exit_code_is_by_severity(
    archive: Path, advisories: Path, fail_on: str | None, code: int
) -> None:
    more = ["--fail-on", fail_on] if fail_on else []
    assert main(["scan", str(archive), "--advisories", str(advisories), *more]) == code


def test_the_table_says_what_where_and_the_fix(
    archive: Path, advisories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", str(archive), "--advisories", str(advisories)]) == 0
    out, err = capsys.readouterr()
    assert "PYSEC-1" in out
    assert "no-dsa" in out
    assert "2.0" in out
    assert "Warning: no advisories were given for npm" in err
    assert "that cannot be told" in out


def test_vex_silences_a_finding_and_its_exit_code(archive: Path, advisories: Path, tmp_path: Path) -> None:
    path = tmp_path / "vex.json"
    claim = {"vulnerability": {"name": "PYSEC-1"}, "products": [{"@id": "pkg:pypi/six"}], "status": "fixed"}
    path.write_text(json.dumps({"statements": [claim]}))
    argv = ["scan", str(archive), "--advisories", str(advisories / "six.json"), "--fail-on", "low"]
    assert main(argv) == 2
    assert main([*argv, "--vex", str(path)]) == 0


@pytest.mark.parametrize("format_", ["json", "sarif"])
def test_documents_for_programs(
    archive: Path, advisories: Path, format_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", str(archive), "--advisories", str(advisories), "--format", format_]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "PYSEC-1" in json.dumps(document)
    if format_ == "json":
        (six,) = [each for each in document["findings"] if each["package"] == "six"]
        assert six["layer"].startswith("sha256:")
        assert (six["severity"], six["fixed"]) == ("high", "2.0")


def test_a_missing_file_of_advisories_is_said(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(archive), "--advisories", "nowhere.json"]) == 1
    assert capsys.readouterr().err == "nowhere.json: no such file or directory\n"


def test_the_database_is_kept_in_the_users_cache(
    archive: Path, advisories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = scan(str(archive), advisories=[advisories])
    assert "PYSEC-1" in {each.advisory.name for each in found.result.findings}
    assert len(list(default_cache().glob("*.db"))) == 1
    assert default_cache().is_relative_to(tmp_path / "cache")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_cache() == Path("/home/somebody/.cache/entrepot/advisories")
