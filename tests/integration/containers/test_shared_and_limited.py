"""Volumes of other containers, limits of the kernel, output that is not kept."""

from __future__ import annotations

import json

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
