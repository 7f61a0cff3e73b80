"""Which runtime is used, and how its failures are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.containers import runtime as module
from entrepot.containers.errors import NoRuntime
from entrepot.containers.runtime import (
    failure_from_log,
    find_runtime,
    has_cgroup_v2,
    has_hybrid_cgroups,
    start_exit_code,
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH, to put programs into."""
    monkeypatch.setattr(module, "_ADMIN_FOLDERS", ())
    monkeypatch.setattr(module, "has_hybrid_cgroups", lambda: False)
    return tmp_path


def install(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


def test_no_runtime_is_told_with_what_to_do(programs: Path) -> None:
    with pytest.raises(NoRuntime, match="neither crun nor runc") as caught:
        find_runtime(environ={"PATH": str(programs)})
    assert "apt-get install crun" in (caught.value.hint or "")
    with pytest.raises(NoRuntime, match="youki is not installed"):
        find_runtime("youki", environ={"PATH": str(programs)})


def test_crun_comes_first_unless_cgroups_are_mixed(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"PATH": str(programs)}
    install(programs, "crun", "runc")
    assert find_runtime(environ=environ).name == "crun"
    assert find_runtime(environ={**environ, "ENTREPOT_RUNTIME": "runc"}).name == "runc"
    monkeypatch.setattr(module, "has_hybrid_cgroups", lambda: True)
    assert find_runtime(environ=environ).name == "runc"
    (programs / "runc").unlink()
    assert find_runtime(environ=environ).name == "crun"


def test_cgroups_are_told_apart(tmp_path: Path) -> None:
    assert not has_hybrid_cgroups(tmp_path)
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified/cgroup.procs").touch()
    assert has_hybrid_cgroups(tmp_path)
    assert not has_cgroup_v2(tmp_path)
    (tmp_path / "cgroup.controllers").touch()
    assert has_cgroup_v2(tmp_path)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "x": executable file not found in $PATH', 127),
        ('exec: "/x": stat /x: no such file or directory', 127),
        ('exec: "/etc": permission denied', 126),
        ('exec: "/etc": is a directory', 126),
        ("exec format error", 126),
        ("anything else", 125),
    ],
)
def test_exit_codes_are_dockers(message: str, code: int) -> None:
    assert start_exit_code(message) == code


def test_the_last_error_of_the_log_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('{"level":"warning","msg":"w"}\nnoise\n{"level":"error","msg":"runc run failed: why"}\n')
    assert str(failure_from_log("runc", log, "")).endswith("runc create failed: why: unknown")
    assert str(failure_from_log("crun", tmp_path / "none", "said\nlast\n")).endswith(
        "crun create failed: last: unknown"
    )
