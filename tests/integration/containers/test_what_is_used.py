"""Volumes, disk use, processes, figures, and removing what nothing needs."""

from __future__ import annotations

import json
import re

import pytest

from tests.integration.containers.conftest import Box
from tests.support.processes import wait_until

LOOP = ("sh", "-c", "while :; do sleep 0.1; done")


def test_volumes_are_listed_described_and_removed(box: Box) -> None:
    box.run("run", "--name", "one", "-v", "data:/data", "tiny:1", "sh", "-c", "echo hello > /data/file")
    assert box.output("volume", "ls") == "DRIVER    VOLUME NAME\nlocal     data"
    assert box.output("volume", "ls", "-q", "-f", "dangling=true") == ""
    (document,) = json.loads(box.output("volume", "inspect", "data"))
    assert document.pop("Mountpoint") == str(box.store / "entrepot/volumes/data/_data")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document.pop("CreatedAt"))
    assert document == {"Driver": "local", "Labels": None, "Name": "data", "Options": None, "Scope": "local"}
    container = box.output("ps", "-aq", "--no-trunc")
    refused = box.run("volume", "rm", "data", code=1)
    assert refused.stderr == f"Error: remove data: volume is in use - [{container}]\n"
    box.run("rm", "one")
    assert box.output("volume", "ls", "-q", "-f", "dangling=true") == "data"
    assert box.output("volume", "rm", "data") == "data"
    assert box.output("volume", "ls", "-q") == ""


def test_a_missing_volume_is_an_error_unless_forced(box: Box) -> None:
    missing = box.run("volume", "inspect", "nope", code=1)
    assert (missing.stdout, missing.stderr) == ("[]\n", "Error: get nope: no such volume\n")
    assert box.run("volume", "rm", "nope", code=1).stderr == "Error: get nope: no such volume\n"
    assert box.output("volume", "rm", "-f", "nope") == "nope"
    assert box.run("volume", "ls", "-f", "bad=1", code=1).stderr == "Error: invalid filter 'bad'\n"


def test_pruning_volumes_keeps_named_and_used_ones(box: Box) -> None:
    box.run("run", "--name", "one", "-v", "named:/a", "-v", "/anonymous", "tiny:1", "true")
    box.run("create", "--name", "two", "-v", "used:/a", "tiny:1")
    anonymous = next(name for name in box.output("volume", "ls", "-q").split() if len(name) == 64)
    assert box.output("volume", "prune", "-f") == "Total reclaimed space: 0B"
    box.run("rm", "one")
    (box.store / "entrepot/volumes" / anonymous / "_data/file").write_bytes(b"x" * 2000)
    asked = box.run("volume", "prune", stdin=b"n\n")
    assert asked.stdout.startswith("WARNING! This will remove anonymous local volumes not used")
    pruned = box.output("volume", "prune", "-f")
    assert pruned == f"Deleted Volumes:\n{anonymous}\n\nTotal reclaimed space: 2kB"
    assert box.output("volume", "ls", "-q") == "named\nused"
    assert "Deleted Volumes:\nnamed\n" in box.output("volume", "prune", "-af")
    assert box.output("volume", "ls", "-q") == "used"


def test_pruning_containers_keeps_those_that_run(box: Box) -> None:
    running = box.output("run", "-d", "tiny:1", *LOOP)
    ended = box.run("run", "-d", "-l", "keep=no", "tiny:1", "sh", "-c", "echo 1234567 > /f").stdout.strip()
    box.run("wait", ended)
    assert box.output("container", "prune", "-f", "--filter", "label=other") == "Total reclaimed space: 0B"
    assert box.output("container", "prune", "-f", "--filter", "until=1h") == "Total reclaimed space: 0B"
    assert box.run("container", "prune", "-f", "--filter", "bad=1", code=1).stderr == (
        "Error: invalid filter 'bad'\n"
    )
    pruned = box.output("container", "prune", "-f", "--filter", "label=keep=no")
    assert pruned == f"Deleted Containers:\n{ended}\n\nTotal reclaimed space: 8B"
    assert box.output("ps", "-aq", "--no-trunc") == running


def test_disk_use_counts_what_nothing_needs(box: Box) -> None:
    row = "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Reclaimable}}"
    images, *others = box.output("system", "df", "--format", row).splitlines()
    assert images.startswith("Images|1|0|")
    assert images.endswith("(100%)")
    assert others == ["Containers|0|0|0B", "Local Volumes|0|0|0B"]
    box.run(
        "run", "--name", "one", "-v", "data:/data", "tiny:1", "sh", "-c", "echo hello > /data/f; echo 12 > /f"
    )
    assert box.output("system", "df", "--format", row).splitlines() == [
        "Images|1|1|0B (0%)", "Containers|1|0|3B (100%)", "Local Volumes|1|1|0B (0%)",
    ]  # fmt: skip
    heading = box.output("system", "df").splitlines()[0]
    assert heading.split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]


def test_system_prune_removes_containers_then_what_they_held(box: Box) -> None:
    box.run("run", "--name", "one", "-v", "/anonymous", "tiny:1", "true")
    asked = box.run("system", "prune", "--volumes", stdin=b"n\n").stdout
    assert asked.startswith(
        "WARNING! This will remove:\n  - all stopped containers\n"
        "  - all anonymous volumes not used by at least one container\n  - all dangling images\n"
    )
    pruned = box.output("system", "prune", "-af", "--volumes")
    assert [pruned.index(word) for word in ("Containers:", "Volumes:", "Images:")] == sorted(
        pruned.index(word) for word in ("Containers:", "Volumes:", "Images:")
    )
    assert (box.output("images", "-q"), box.output("volume", "ls", "-q")) == ("", "")


def test_top_shows_what_runs_in_the_container_and_nothing_else(box: Box) -> None:
    container = box.output("run", "-d", "tiny:1", *LOOP)
    narrow = {"COLUMNS": "40"}
    title, first, *_ = box.output("top", container, env=narrow).splitlines()
    assert title.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert title.index("PID") == 20
    assert first.endswith("while :; do sleep 0.1; done")
    pid = box.output("inspect", "-f", "{{.State.Pid}}", container)
    lines = box.output("top", container, "-o", "pid,comm").splitlines()
    assert [line.split() for line in lines[:2]] == [["PID", "COMMAND"], [pid, "sh"]]
    assert "Couldn't find PID field" in box.run("top", container, "-o", "comm", code=1).stderr
    box.run("kill", container)
    box.run("wait", container)
    assert "is not running" in box.run("top", container, code=1).stderr


def test_top_shows_what_exec_started(box: Box) -> None:
    container = box.output("run", "-d", "tiny:1", *LOOP)
    box.run("exec", "-d", container, "sleep", "1234")
    wait_until(lambda: "sleep 1234" in box.output("top", container), what="the command that exec started")


@pytest.mark.parametrize("command", [("stats", "--no-stream"), ("container", "stats", "--no-stream")])
def test_stats_shows_containers_that_run(box: Box, command: tuple[str, ...]) -> None:
    box.run("run", "-d", "--name", "busy", "tiny:1", "sh", "-c", "while :; do :; done")
    box.run("create", "--name", "idle", "tiny:1")
    template = "{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.PIDs}}"
    (row,) = box.output(*command, "--format", template).splitlines()
    name, cpu, memory, pids = row.split("|")
    assert (name, pids) == ("busy", "1")
    assert float(cpu.rstrip("%")) > 0
    assert re.fullmatch(r"[\d.]+[KMG]iB / [\d.]+[GT]iB", memory)
    assert {line.split("|")[0] for line in box.output(*command, "-a", "--format", template).splitlines()} == {
        "busy", "idle",
    }  # fmt: skip
    assert json.loads(box.output(*command, "idle", "--format", "json"))["Container"] == "idle"


def test_port_says_that_nothing_is_published(box: Box) -> None:
    box.run("create", "--name", "one", "tiny:1")
    assert box.output("port", "one") == ""
    assert box.run("port", "one", "80", code=1).stderr == "Error: No public port '80/tcp' published for one\n"
