"""Several commands at one container, and clients that do not read: nothing is lost, nobody waits for ever."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from entrepot.actions.create import lifecycle_of
from tests.integration.containers.conftest import TIMEOUT_S, Box
from tests.support.locks import somebody_waits_for
from tests.support.processes import wait_until
from tests.support.tarballs import archive, file

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def directory_of(box: Box, name: str) -> Path:
    containers = lifecycle_of(box.store).containers
    return containers.directory(containers.find(name))


def test_files_stay_mounted_until_the_last_one_is_done(box: Box) -> None:
    """Two `cp` into a stopped container: the end of one does not take the files of the other."""
    box.run("create", "--name", "idle", "tiny:1")
    lifecycle = lifecycle_of(box.store)
    rootfs = lifecycle.rootfs(lifecycle.containers.find("idle"))
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(rootfs.mounted())
        root = second.enter_context(rootfs.mounted())
        first.close()
        (root / "late").touch()
    assert (rootfs.upper / "late").exists()
    assert box.mounts() == []


def test_a_copy_out_of_a_container_may_feed_a_copy_into_it(box: Box) -> None:
    much = archive(file(b"big", bytes(3_000_000)))
    box.run("create", "--name", "idle", "tiny:1", "sh", "-c", "stat -c %s /big /tmp/big")
    box.run("cp", "-", "idle:/", stdin=much)
    out = subprocess.Popen(box.argv("cp", "idle:/big", "-"), env=box.env, stdout=subprocess.PIPE)
    try:
        done = subprocess.run(
            box.argv("cp", "-", "idle:/tmp"), env=box.env, stdin=out.stdout, check=False, timeout=TIMEOUT_S
        )
    finally:
        out.kill()
        out.communicate(timeout=TIMEOUT_S)
    assert done.returncode == 0
    assert box.output("start", "-a", "idle").split() == ["3000000", "3000000"]


def test_the_end_of_a_container_leaves_the_files_to_a_copy(box: Box) -> None:
    """One that began just before the container was started to its end."""
    box.run("create", "--rm", "--name", "idle", "tiny:1")  # its end waits for no disk
    lifecycle = lifecycle_of(box.store)
    container = lifecycle.containers.find("idle")
    monitors, copy = lifecycle.rootfs(container), lifecycle.rootfs(container)
    monitors.mount()
    with copy.mounted() as root:
        monitors.release()
        (root / "late").touch()
    assert (copy.upper / "late").exists()
    assert box.mounts() == []
    monitors.mount()
    with copy.mounted():
        pass
    assert box.mounts() != []
    monitors.release()


@pytest.mark.parametrize("killed", [False, True], ids=["to its end", "killed"])
def test_a_start_waits_for_a_copy(box: Box, killed: bool) -> None:
    box.run("create", "--name", "late", "tiny:1", "sh", "-c", "cat /copied; cat /proc/mounts")
    tar = archive(file(b"copied", b"whole\n"))
    copy = subprocess.Popen(box.argv("cp", "-", "late:/"), env=box.env, cwd=box.home, stdin=subprocess.PIPE)
    assert copy.stdin is not None
    wait_until(box.mounts, what="the copy to have the container's files mounted")
    start = subprocess.Popen(
        box.argv("start", "-a", "late"), env=box.env, cwd=box.home, stdout=subprocess.PIPE
    )
    lock = directory_of(box, "late") / "mount.lock"
    wait_until(lambda: start.poll() is not None or somebody_waits_for(lock), what="the start to wait")
    if killed:
        copy.kill()
    else:
        copy.stdin.write(tar)
    copy.stdin.close()
    copy.wait(TIMEOUT_S)
    printed = start.communicate(timeout=TIMEOUT_S)[0].decode()
    assert killed or printed.startswith("whole\n")
    # What is mounted for a copy alone may ignore fsync, which programs rely on.
    assert "volatile" not in next(line for line in printed.splitlines() if " / " in line)
    assert start.returncode == 0
    assert box.mounts() == []


def test_a_container_ends_though_its_client_does_not_read(box: Box) -> None:
    """`run … | less`: `stop` and `rm` do not wait for the reader, who still gets everything."""
    client = subprocess.Popen(
        box.argv("run", "--name", "talker", "tiny:1", "cat", "/dev/zero"),
        env=box.env, cwd=box.home, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_until(lambda: box.output("ps", "-q"), what="the container")
        log = directory_of(box, "talker") / "log"
        # More than fits between the container and the reader.
        sizes = [0]

        def stands_still() -> bool:
            sizes.append(log.stat().st_size)
            return sizes[-1] == sizes[-2] > 0

        wait_until(stands_still, what="everything to be full")
        box.run("stop", "-t", "0", "talker")
        assert box.output("inspect", "-f", "{{.State.ExitCode}}", "talker") == "137"
        logged = len(box.run("logs", "talker").stdout)
        box.run("rm", "talker")
        assert len(client.communicate(timeout=TIMEOUT_S)[0]) == logged
        assert client.returncode == 137
    finally:
        client.kill()
        client.wait(TIMEOUT_S)


@pytest.mark.parametrize("terminal", [(), ("-t",)], ids=["pipe", "terminal"])
def test_a_slow_reader_gets_everything(box: Box, terminal: tuple[str, ...]) -> None:
    script = "head -c 3000000 /dev/zero; exit 3"
    client = subprocess.Popen(
        box.argv("run", "--rm", *terminal, "tiny:1", "sh", "-c", script),
        env=box.env, cwd=box.home, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert client.stdout is not None
    with client.stdout:
        assert client.stdout.read(1) == b"\0"
        assert box.output("ps", "-q")  # it cannot end before it is read
        assert len(client.stdout.read()) == 2_999_999
    assert client.wait(TIMEOUT_S) == 3
    assert box.output("ps", "-aq") == ""
