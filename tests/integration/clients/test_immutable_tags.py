"""A policy by the command line, beside a running registry; real clients are told which rule refuses."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.dockerd import Docker
from tests.support.images import image, push_image
from tests.support.programs import require_program
from tests.support.server import ENTREPOT, RunningServer, clean_env, running_server
from tests.support.wire import Wire

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

POLICY = """
[[retention]]
projects = "acme"
repositories = "**"
rest = "delete"
keep = [{ newest = 5, tags = "v*", per = "minor" }, { always = true, tags = "stable" }]

[[immutable]]
projects = "acme"
tags = "v*"
except = "v0.*"
delete = "by-retention"
"""
RULE = 'rule immutable 1 (tags "v*" except "v0.*") keeps it at sha256:'


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("policies")) as server:
        yield server


def run(*argv: str, status: int = 0) -> str:
    done = subprocess.run(argv, env=clean_env(), capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def filled(own: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    """With eight releases, and the policy in force."""
    with closing(Wire(own.port, headers={"Host": own.host})) as wire:
        for patch in range(7):
            push_image(wire, "acme/app", f"v1.0.{patch}", image([{"patch": str(patch).encode()}]))
        push_image(wire, "acme/app", "stable", image([{"patch": b"stable"}]))
    file = tmp_path_factory.mktemp("file") / "policy.toml"
    file.write_text(POLICY)
    policy = (ENTREPOT, "admin", "--data", str(own.data), "policy")
    planned = run(*policy, "plan", str(file))
    assert "acme/app:v1.0.0" in planned
    assert "would remove 2 tags, keep 6" in planned
    assert "version 1 of the policy holds" in run(*policy, "apply", str(file), "--yes")
    assert run(*policy, "export") == POLICY
    return own


def test_retention_runs_and_is_taken_back(filled: RunningServer) -> None:
    policy = (ENTREPOT, "admin", "--data", str(filled.data), "policy")
    with closing(Wire(filled.port, headers={"Host": filled.host})) as wire:

        def tags() -> list[str]:
            return list(wire("GET", "/v2/acme/app/tags/list").json()["tags"])

        before = tags()
        assert "would remove 2 tags" in run(*policy, "run", "retention", "--dry-run")
        assert tags() == before
        assert "run 1: removed 2 tags, kept 6" in run(*policy, "run", "retention")
        assert tags() == [name for name in before if name not in {"v1.0.0", "v1.0.1"}]
        assert "brought back 2 tags" in run(*policy, "undo", "1")
        assert tags() == before


def test_skopeo_is_told_the_rule(filled: RunningServer) -> None:
    skopeo, host = require_program("skopeo"), f"docker://{filled.host}/acme/app"
    same = (f"{host}:v1.0.6", f"{host}:v1.0.6")
    copy = (skopeo, "copy", "--src-tls-verify=false", "--dest-tls-verify=false")
    run(*copy, *same)
    said = run(*copy, f"{host}:stable", f"{host}:v1.0.6", status=1)
    assert "can't be overwritten" in said
    assert RULE.replace('"', '\\"') in said or RULE in said
    said = run(skopeo, "delete", "--tls-verify=false", f"{host}:v1.0.6", status=1)
    assert "can't be deleted" in said


def test_docker_prints_the_rule(dockerd: Docker, filled: RunningServer) -> None:
    name = f"{filled.host}/acme/app"
    dockerd.run("pull", "-q", f"{name}:stable")
    dockerd.run("tag", f"{name}:stable", f"{name}:v1.0.5")
    said = dockerd.run("push", f"{name}:v1.0.5", check=False)
    assert said.returncode == 1
    assert "tag v1.0.5 of acme/app is immutable and can't be overwritten" in said.stderr
    assert RULE in said.stderr
    dockerd.run("rmi", "-f", f"{name}:v1.0.5", f"{name}:stable")


def test_broken_files_are_refused_with_the_setting(own: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[[retention]]\nkeep = [{ newest = 5, tags = "v[" }]\n')
    said = run(ENTREPOT, "admin", "--data", str(own.data), "policy", "apply", str(file), "--yes", status=1)
    assert "retention 1, keep 1, tags: has the glob 'v[' with a [ at character 2" in said
