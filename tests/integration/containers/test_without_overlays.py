"""Containers where the kernel mounts no overlay: the layers are copied, and everything else is the same."""

from __future__ import annotations

import errno

import pytest

from entrepot.actions.commit import commit_container
from entrepot.actions.diff import container_changes
from entrepot.actions.run import run_container
from entrepot.containers import rootfs
from entrepot.containers.options import CreateOptions
from tests.integration.containers.conftest import Box

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture
def no_overlays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(rootfs, "mount_overlay", refuse)


def test_a_container_runs_on_a_copy(box: Box, no_overlays: None) -> None:
    script = "cat /etc/issue; echo new > /new; rm -r /usr/share/doc; chmod 700 /tmp; ln /new /new2"
    done = run_container(
        "tiny:1", ["sh", "-c", script], options=CreateOptions(name="copied"), store=box.store
    )
    assert (done.exit_code, done.stdout) == (0, b"tiny\n")
    assert box.output("inspect", "-f", "{{.Driver}}", "copied") == "vfs"
    changes = [f"{change.kind} {change.path}" for change in container_changes("copied", store=box.store)]
    assert changes == ["A /new", "A /new2", "C /tmp", "C /usr", "C /usr/share", "D /usr/share/doc"]
    commit_container("copied", "copied:1", store=box.store)
    assert box.output("run", "--rm", "copied:1", "sh", "-c", "cat /new2; stat -c %a /tmp") == "new\n700"
    box.run("start", "-a", "copied", code=1)  # its files are as it left them
    box.run("cp", "/etc/hostname", "copied:/hn")
    assert "A /hn" in box.output("diff", "copied").splitlines()
