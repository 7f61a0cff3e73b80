"""commit, export and import: the same steps in docker make the same images."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.containers.conftest import TIMEOUT_S, Box, Podman
from tests.support.dockerd import Docker
from tests.support.processes import wait_until
from tests.support.programs import require_program
from tests.support.server import ENTREPOT

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

STEPS = (
    "echo hello > /hi; rm /etc/issue; rm -r /usr/share/doc; mkdir /usr/share/doc; echo 3 > "
    "/usr/share/doc/three; "
    "mkdir -p /a/b; echo 1 > /a/b/c; chmod 4755 /a/b/c; ln /hi /hi2; ln -s /hi /hi3; mkfifo /fifo; "
    "chown 1234:5678 /a/b; mknod /null c 1 3; touch /tmp/x; rm -r /home; echo y > /home; mv /var/empty "
    "/var/full"
)
CHANGES = (
    'CMD ["echo","x"]', "ENV A=b C=d", "LABEL k=v", "EXPOSE 80", "VOLUME /v", "WORKDIR /w", "USER 1",
    "STOPSIGNAL SIGINT", "ONBUILD RUN x", "HEALTHCHECK CMD true",
)  # fmt: skip

LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
"""podman asks for more than a machine without CAP_SYS_RESOURCE gives."""


def layer_rows(data: bytes) -> dict[str, tuple[Any, ...]]:
    """Entries of a layer's tar, without times. Engines before 25 put the file type into the mode as well."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            member.name: (member.type, oct(member.mode & 0o7777), member.uid, member.gid, member.size,
                          member.linkname if member.issym() or member.islnk() else "",
                          member.devmajor, member.devminor)
            for member in tar
        }  # fmt: skip


def top_layer(archive: Path) -> tuple[dict[str, Any], bytes]:
    """Config and uncompressed last layer of what `save` wrote."""
    with tarfile.open(archive) as tar:
        (entry,) = json.load(_open(tar, "manifest.json"))
        config = json.load(_open(tar, entry["Config"]))
        data = _open(tar, entry["Layers"][-1]).read()
    return config, gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _open(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.getmember(name)
    if member.issym():  # 20.10 links equal layers
        member = tar.getmember(str(Path(name).parent / member.linkname).replace("/../", "/"))
    file = tar.extractfile(member)
    assert file is not None
    return file


def entrepot_archive(box: Box, image: str) -> Path:
    path = box.home / "ours.tar"
    box.run("save", "-o", path, image)
    return path


@pytest.fixture
def docker_tiny(dockerd: Docker, tiny_tar: Path) -> Docker:
    """The daemon with the same image."""
    dockerd.run("import", "-c", 'CMD ["sh"]', "-c", "ENV FROM=image", str(tiny_tar), "tiny:1")
    return dockerd


def test_the_same_steps_make_the_same_diff_layer_and_history_as_docker(box: Box, docker_tiny: Docker) -> None:
    changes = [word for change in CHANGES for word in ("-c", change)]
    docker_changes = [word for change in CHANGES if not change.startswith("STOP") for word in ("-c", change)]
    name = "golden-steps"
    try:
        docker_tiny.run(
            "run", "--name", name, "--network", "none", "-w", "/new/dir", "tiny:1", "sh", "-c", STEPS
        )
        theirs = set(docker_tiny.run("diff", name).stdout.splitlines())
        docker_tiny.run(
            "commit", "-a", "Au Thor <a@b.c>", "-m", "a message", *docker_changes, name, "golden:1"
        )
        docker_tiny.run("save", "-o", str(box.home / "theirs.tar"), "golden:1")
    finally:
        docker_tiny.run("rm", "-f", name, check=False)
        docker_tiny.run("rmi", "-f", "golden:1", check=False)
    box.run("run", "--name", name, "-w", "/new/dir", "tiny:1", "sh", "-c", STEPS)
    assert set(box.output("diff", name).splitlines()) == theirs
    box.run("commit", "-a", "Au Thor <a@b.c>", "-m", "a message", *changes, name, "golden:1")
    their_config, their_layer = top_layer(box.home / "theirs.tar")
    our_config, our_layer = top_layer(entrepot_archive(box, "golden:1"))
    assert layer_rows(our_layer) == layer_rows(their_layer)
    assert [_without_times(entry) for entry in our_config["history"]][-1] == [
        _without_times(entry) for entry in their_config["history"]
    ][-1]
    for key in (
        "Cmd",
        "Env",
        "Labels",
        "ExposedPorts",
        "Volumes",
        "WorkingDir",
        "User",
        "OnBuild",
        "Healthcheck",
    ):
        assert our_config["config"].get(key) == their_config["config"].get(key), key
    assert our_config["config"]["StopSignal"] == "SIGINT"
    assert our_config["author"] == their_config["author"] == "Au Thor <a@b.c>"


def _without_times(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "created"}


def test_docker_and_podman_run_what_we_committed(box: Box, docker_tiny: Docker, podman: Podman) -> None:
    box.run("run", "--name", "made", "tiny:1", "sh", "-c", STEPS)
    image_id = box.output(
        "commit", "-c", 'CMD ["cat", "/hi", "/usr/share/doc/three"]', "made", "ours/committed:1"
    )
    archive = entrepot_archive(box, "ours/committed:1")
    try:
        docker_tiny.run("load", "-i", str(archive))
        assert (
            docker_tiny.run("image", "inspect", "-f", "{{.Id}}", "ours/committed:1").stdout.strip()
            == image_id
        )
        done = docker_tiny.run("run", "--rm", "--network", "none", "ours/committed:1")
        assert done.stdout == "hello\n3\n"
        ours = box.output("history", "--format", "{{.CreatedBy}}|{{.Comment}}", "ours/committed:1")
        theirs = docker_tiny.run(
            "history", "--format", "{{.CreatedBy}}|{{.Comment}}", "ours/committed:1"
        ).stdout
        assert ours == theirs.rstrip("\n")
    finally:
        docker_tiny.run("rmi", "-f", "ours/committed:1", check=False)
    loaded = podman("load", "-q", "-i", archive)
    assert loaded.returncode == 0, loaded.stderr
    ran = podman("run", "--rm", "--network=none", *LIMITS, "docker.io/ours/committed:1")
    assert ran.stdout == "hello\n3\n", ran.stderr


def test_export_has_the_entries_that_docker_exports(box: Box, docker_tiny: Docker) -> None:
    box.run("create", "--name", "golden-export", "tiny:1")
    ours = _stdout([ENTREPOT, "export", "golden-export"], box.env)
    try:
        docker_tiny.run("create", "--name", "golden-export", "--network", "none", "tiny:1")
        theirs = _stdout([require_program("docker"), "export", "golden-export"], docker_tiny.env)
    finally:
        docker_tiny.run("rm", "-f", "golden-export", check=False)
    assert layer_rows(ours) == layer_rows(theirs)


def _stdout(argv: list[str], env: Mapping[str, str]) -> bytes:
    return subprocess.run(argv, env=dict(env), stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S).stdout


def test_import_of_an_export_has_the_same_files(box: Box) -> None:
    box.run("run", "--name", "source", "tiny:1", "sh", "-c", STEPS)
    box.run("export", "-o", "flat.tar", "source")
    assert (box.home / "flat.tar").stat().st_mode & 0o777 == 0o600
    box.run("import", "-c", 'CMD ["sh"]', "flat.tar", "round:1")
    box.run("create", "--name", "again", "round:1")
    box.run("export", "-o", "again.tar", "again")
    first, second = (layer_rows((box.home / name).read_bytes()) for name in ("flat.tar", "again.tar"))
    assert first == second
    assert box.output("run", "--rm", "round:1", "cat", "/hi") == "hello"
    box.run("commit", "source", "layered:1")
    found = json.loads(box.output("image", "diff", "--format", "json", "layered:1", "round:1"))["Files"]
    assert [(row["Kind"], row["Path"], row["SizeA"], row["SizeB"], row["ModeA"]) for row in found] == [
        ("A", path, 0, 0, "")
        for path in ("/.dockerenv", "/dev/console", "/dev/pts", "/dev/shm", "/etc/hostname", "/etc/hosts",
                     "/etc/mtab", "/etc/resolv.conf")
    ]  # fmt: skip


def test_a_commit_without_changes_adds_no_layer(box: Box) -> None:
    box.run("create", "--name", "same", "tiny:1")
    box.run("commit", "-c", "LABEL a=b", "same", "same:1")
    before, after = (json.loads(box.output("inspect", name))[0] for name in ("tiny:1", "same:1"))
    assert after["RootFS"]["Layers"] == before["RootFS"]["Layers"]
    assert after["Config"]["Labels"] == {"a": "b"}
    assert after["Parent"] == before["Id"]
    config, _ = top_layer(entrepot_archive(box, "same:1"))
    assert config["history"][-1]["empty_layer"] is True


def test_a_running_container_can_be_committed_and_exported(box: Box) -> None:
    box.run(
        "run", "-d", "--name", "live", "tiny:1", "sh", "-c", "echo 1 > /written; while :; do sleep 0.1; done"
    )
    wait_until(lambda: "A /written" in box.output("diff", "live"), what="the file")
    box.run("commit", "live", "live:1")
    assert box.output("run", "--rm", "live:1", "cat", "/written") == "1"
    assert "written" in layer_rows(_stdout([ENTREPOT, "export", "live"], box.env))
    assert box.output("ps", "--format", "{{.Names}}") == "live"


def test_the_same_changes_give_the_same_image_when_a_time_is_set(box: Box) -> None:
    ids = set()
    for name in ("one", "two"):
        box.run("run", "--name", name, "tiny:1", "sh", "-c", "mkdir /d; echo x > /d/f; ln -s f /d/l")
        ids.add(box.output("commit", name, env={"SOURCE_DATE_EPOCH": "1700000000"}))
        ids.add(box.output("commit", "--timestamp", "2023-11-14T22:13:20Z", name))
    assert len(ids) == 1
    created = box.output("inspect", "-f", "{{.Created}}", ids.pop())
    assert created.startswith("2023-11-14T22:13:20")


def test_volumes_are_no_part_of_an_image(box: Box) -> None:
    box.run(
        "run",
        "--name",
        "data",
        "-v",
        "/usr/share/doc",
        "tiny:1",
        "sh",
        "-c",
        "echo x > /usr/share/doc/secret",
    )
    assert "secret" not in box.output("diff", "data")
    box.run("commit", "data", "data:1")
    assert "secret" not in box.output("run", "--rm", "--entrypoint", "ls", "data:1", "/usr/share/doc")


def test_editing_without_running(box: Box) -> None:
    (box.home / "extra").mkdir()
    (box.home / "extra/file").write_text("extra\n")
    ids = {
        box.output("append", "tiny:1", "extra", "-t", "app:1", "--prefix", "/opt", "--timestamp", "0")
        for _ in "ab"
    }
    assert len(ids) == 1
    assert box.output("run", "--rm", "app:1", "cat", "/opt/file") == "extra"
    box.run(
        "mutate", "tiny:1", "-t", "base:2", "-e", "FROM=patched", "-l", "x=y", "--platform", "linux/arm64/v8"
    )
    assert json.loads(box.output("inspect", "base:2"))[0]["Architecture"] == "arm64"
    (box.home / "patch").write_text("patched\n")
    box.run("append", "tiny:1", box.home / "extra", "-t", "newbase:1", "--prefix", "/patched")
    box.run("rebase", "app:1", "newbase:1", "-t", "app:2")
    assert box.output("run", "--rm", "app:2", "cat", "/opt/file", "/patched/file") == "extra\nextra"
    assert (
        "does not begin with"
        in box.run("rebase", "tiny:1", "app:1", "--old-base", "newbase:1", code=1).stderr
    )
    box.run("flatten", "app:2", "-t", "flat:1")
    assert len(json.loads(box.output("inspect", "flat:1"))[0]["RootFS"]["Layers"]) == 1
    text = box.output("image", "diff", "app:2", "flat:1")
    assert "The images have the same files and settings." in text
    text = box.output("image", "diff", "tiny:1", "app:1")
    assert "A /opt/file (+6B)" in text
