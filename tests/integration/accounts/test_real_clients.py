"""docker, podman and skopeo as user, robot, token and nobody: log in, push, pull, log out, and be refused."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.accounts.conftest import LOGINS, Registry, login_of
from tests.support.dockerd import Docker
from tests.support.images import image, push_image
from tests.support.programs import require_program, require_root
from tests.support.server import clean_env

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def run(argv: list[str], *, env: dict[str, str], check: bool = True, stdin: str | None = None) -> Any:
    done = subprocess.run(
        argv, env=env, capture_output=True, text=True, check=False, timeout=240, input=stdin
    )
    assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done


# skopeo: every kind of log-in.


@pytest.mark.parametrize("label", LOGINS)
def test_skopeo_does_what_the_login_may(registry: Registry, tmp_path: Path, label: str) -> None:
    skopeo = require_program("skopeo")
    login, host = login_of(registry, label), registry.host
    env = {**os.environ, "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"), "HOME": str(tmp_path)}
    base = [skopeo, "--insecure-policy"]
    if login.name is not None:
        argv = [skopeo, "login", "--tls-verify=false", "-u", login.name, "--password-stdin", host]
        run(argv, env=env, stdin=login.secret)
    pulled = run(
        [*base, "copy", "--src-tls-verify=false", f"docker://{host}/acme/app:v1", f"oci:{tmp_path}/out:v1"],
        env=env,
        check=False,
    )
    assert (pulled.returncode == 0) is login.pulls, pulled.stderr
    public = [
        *base,
        "copy",
        "--src-tls-verify=false",
        f"docker://{host}/open/app:v1",
        f"oci:{tmp_path}/pub:v1",
    ]
    run(public, env=env)
    target = f"docker://{host}/acme/from-{label.replace('+', '-')}:v1"
    pushed = run(
        [*base, "copy", "--dest-tls-verify=false", f"oci:{tmp_path}/pub:v1", target], env=env, check=False
    )
    assert (pushed.returncode == 0) is login.pushes, pushed.stderr
    if login.name is not None:
        run([skopeo, "logout", host], env=env)
        assert host not in (tmp_path / "auth.json").read_text()


def test_skopeo_login_checks_the_password(registry: Registry, tmp_path: Path) -> None:
    env = {**os.environ, "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"), "HOME": str(tmp_path)}
    argv = [
        require_program("skopeo"),
        "login",
        "--tls-verify=false",
        "-u",
        "pia",
        "-p",
        "wrong",
        registry.host,
    ]
    refused = run(argv, env=env, check=False)
    assert refused.returncode != 0
    assert "invalid username/password" in refused.stderr


def test_skopeo_delete_needs_a_role_that_deletes(registry: Registry, tmp_path: Path) -> None:
    env = {**os.environ, "HOME": str(tmp_path)}
    push_image(registry.wire("admin"), "acme/goes", "v1", image([{"goes": b"away"}]))
    for label, deletes in (("acme+ci", False), ("olga", True)):
        creds = f"{label}:{registry.secrets[label]}"
        argv = [require_program("skopeo"), "delete", "--tls-verify=false", "--creds", creds]
        done = run([*argv, f"docker://{registry.host}/acme/goes:v1"], env=env, check=False)
        assert (done.returncode == 0) is deletes, done.stderr
        if not deletes:
            assert "delete" in done.stderr


# docker: the daemon does the talking.


@pytest.fixture
def docker(dockerd_socket: Path, tmp_path: Path) -> Docker:
    config = tmp_path / "docker"
    config.mkdir()
    return Docker(dockerd_socket, config)


def test_docker_logs_in_pushes_pulls_and_logs_out(registry: Registry, docker: Docker) -> None:
    host = registry.host
    for label in ("acme+ci", "olga"):
        refused = docker.run("pull", f"{host}/acme/app:v1", check=False)
        assert refused.returncode != 0
        assert "denied" in refused.stderr.lower() or "unauthorized" in refused.stderr.lower()
        secret = registry.secrets[label].encode()
        said = docker.run("login", "-u", label, "--password-stdin", host, stdin=secret)
        assert "Login Succeeded" in said.stdout
        stored = json.loads((docker.config / "config.json").read_text())["auths"][host]
        assert ("identitytoken" in stored) is (label == "olga")  # a password is not kept, a refresh token is
        docker.run("pull", f"{host}/acme/app:v1")
        docker.run("tag", f"{host}/acme/app:v1", f"{host}/acme/docker:{label.replace('+', '-')}")
        docker.run("push", f"{host}/acme/docker:{label.replace('+', '-')}")
        docker.run("rmi", f"{host}/acme/app:v1", f"{host}/acme/docker:{label.replace('+', '-')}")
        assert host in docker.run("logout", host).stdout
    docker.run("pull", f"{host}/open/app:v1")
    docker.run("rmi", f"{host}/open/app:v1")


def test_docker_is_refused_with_a_reason(registry: Registry, docker: Docker) -> None:
    host = registry.host
    wrong = docker.run("login", "-u", "pia", "--password-stdin", host, check=False, stdin=b"wrong")
    assert wrong.returncode != 0
    assert "unauthorized" in wrong.stderr
    docker.run("login", "-u", "pia", "--password-stdin", host, stdin=registry.secrets["pia"].encode())
    docker.run("pull", f"{host}/acme/app:v1")
    docker.run("tag", f"{host}/acme/app:v1", f"{host}/acme/app:mine")
    refused = docker.run("push", f"{host}/acme/app:mine", check=False)
    assert refused.returncode != 0
    assert "denied" in refused.stderr
    docker.run("rmi", f"{host}/acme/app:v1", f"{host}/acme/app:mine")


# podman


@pytest.fixture
def podman() -> Iterator[list[str]]:
    """With storage of its own, in a folder with a short name: long run roots are refused."""
    program = require_program("podman")
    require_root()
    folder = Path(tempfile.mkdtemp(prefix="ep-"))
    yield [
        program,
        f"--root={folder}/root",
        f"--runroot={folder}/run",
        "--storage-driver=vfs",
        "--cgroup-manager=cgroupfs",
        "--events-backend=file",
        f"--tmpdir={folder}/tmp",
    ]
    shutil.rmtree(folder, ignore_errors=True)


def test_podman_logs_in_pushes_and_pulls(registry: Registry, podman: list[str], tmp_path: Path) -> None:
    host = registry.host
    env = clean_env(
        REGISTRY_AUTH_FILE=str(tmp_path / "auth.json"), HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path)
    )
    insecure = "--tls-verify=false"
    refused = run([*podman, "pull", insecure, f"{host}/acme/app:v1"], env=env, check=False)
    assert refused.returncode != 0
    login = [*podman, "login", insecure, "-u", "acme+ci", "--password-stdin", host]
    run(login, env=env, stdin=registry.secrets["acme+ci"])
    run([*podman, "pull", insecure, f"{host}/acme/app:v1"], env=env)
    run([*podman, "tag", f"{host}/acme/app:v1", f"{host}/acme/podman:v1"], env=env)
    run([*podman, "push", insecure, f"{host}/acme/podman:v1"], env=env)
    found = run([*podman, "search", insecure, f"{host}/app"], env=env)
    assert "open/app" in found.stdout
    run([*podman, "logout", host], env=env)
    again = run([*podman, "pull", insecure, f"{host}/acme/podman:v1"], env=env, check=False)
    assert again.returncode != 0
