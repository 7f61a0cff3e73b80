"""Volumes of other containers, limits of the kernel, output that is not kept."""

from __future__ import annotations

import json
import os
import tempfile

import pytest

from tests.integration.containers.conftest import Box

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def test_volumes_of_another_container(box: Box) -> None:
    box.run("run", "--name", "data", "-v", "/shared", "-v", "named:/named", "tiny:1", "sh", "-c",
            "echo a >/shared/file; echo b >/named/file")  # fmt: skip
    words = ("--volumes-from", "data", "tiny:1", "cat", "/shared/file", "/named/file")
    assert box.output("run", "--name", "reader", *words) == "a\nb"
    box.run("run", "--rm", "--volumes-from", "data:ro", "tiny:1", "touch", "/shared/new", code=1)
    assert box.run("run", "--volumes-from", "none", "tiny:1", code=125).stderr.startswith(
        "entrepot: Error: No such container: none"
    )
    assert "invalid mode: odd" in box.run("run", "--volumes-from", "data:odd", "tiny:1", code=125).stderr


def test_a_volume_nobody_named_goes_with_the_last_that_has_it(box: Box) -> None:
    box.run("run", "--name", "first", "-v", "/shared", "tiny:1", "sh", "-c", "echo a >/shared/file")
    words = ("--volumes-from", "first", "tiny:1", "cat", "/shared/file")
    box.run("run", "--name", "second", *words)
    box.run("run", "--rm", *words)
    box.run("rm", "-v", "first")
    assert box.output("start", "-a", "second") == "a"
    box.run("rm", "-v", "second")
    assert list((box.store / "entrepot/volumes").iterdir()) == []


def test_output_that_is_not_kept(box: Box) -> None:
    assert (
        box.output("run", "--name", "quiet", "--log-driver", "none", "tiny:1", "sh", "-c", "echo hi") == "hi"
    )
    assert "configured logging driver does not support reading" in box.run("logs", "quiet", code=1).stderr
    (document,) = json.loads(box.output("inspect", "quiet"))
    assert document["HostConfig"]["LogConfig"]["Type"] == "none"
    assert document["LogPath"] == ""


def test_processors_are_the_ones_asked_for(box: Box) -> None:
    words = ("--cpuset-cpus", "0", "tiny:1", "cat", "/proc/self/status")
    status = box.output("run", "--name", "pinned", *words)
    assert "Cpus_allowed_list:\t0\n" in status
    assert box.output("inspect", "-f", "{{.HostConfig.CpusetCpus}}", "pinned") == "0"


def test_shared_memory_of_the_host_or_none(box: Box) -> None:
    own = os.readlink("/proc/self/ns/ipc")
    words = ("tiny:1", "readlink", "/proc/self/ns/ipc")
    assert box.output("run", "--name", "shared", "--ipc", "host", *words) == own
    assert box.output("inspect", "-f", "{{.HostConfig.IpcMode}}", "shared") == "host"
    assert box.output("run", "--rm", *words) != own
    assert box.output("run", "--rm", "--ipc", "none", *words) != own
    box.run("run", "--rm", "--ipc", "none", "tiny:1", "sh", "-c", "test -e /dev/shm", code=1)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as shown:
        box.run("run", "--rm", "--ipc", "host", "tiny:1", "sh", "-c", f"test -e {shown.name}")
        box.run("run", "--rm", "tiny:1", "sh", "-c", f"test -e {shown.name}", code=1)
    refused = box.run("run", "--ipc", "container:db", "tiny:1", "true", code=125).stderr
    assert "--ipc container:db is not supported" in refused


def test_a_plain_user_shares_the_hosts_memory(plain_box: Box) -> None:
    own = os.readlink("/proc/self/ns/ipc")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as shown:
        script = f"test -e {shown.name} && readlink /proc/self/ns/ipc"
        assert plain_box.output("run", "--rm", "--ipc", "host", "tiny:1", "sh", "-c", script) == own
