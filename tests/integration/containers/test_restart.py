"""`--restart`: started again by its monitor, until somebody wants it down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.containers.conftest import Box
from tests.support.processes import wait_until

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def _inspect(box: Box, name: str) -> dict[str, Any]:
    (document,) = json.loads(box.output("inspect", name))
    assert isinstance(document, dict)
    return document


def test_a_failure_is_tried_so_often(box: Box) -> None:
    box.run(
        "run", "-d", "--name", "odd", "--restart", "on-failure:2", "tiny:1", "sh", "-c", "echo up; exit 3"
    )
    assert box.output("wait", "odd") == "3"
    document = _inspect(box, "odd")
    assert (document["RestartCount"], document["State"]["Status"]) == (2, "exited")
    assert document["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert box.output("logs", "odd") == "up\nup\nup"


def test_success_is_no_failure(box: Box) -> None:
    box.run("run", "-d", "--name", "fine", "--restart", "on-failure", "tiny:1", "true")
    assert box.output("wait", "fine") == "0"
    assert _inspect(box, "fine")["RestartCount"] == 0


def test_who_is_attached_gets_the_first_exit_code(box: Box) -> None:
    said = box.run(
        "run", "--name", "web", "--restart", "always", "tiny:1", "sh", "-c", "echo up; exit 3", code=3
    )
    assert said.stdout == "up\n"
    wait_until(lambda: _inspect(box, "web")["RestartCount"] >= 2, what="the second restart")
    box.run("stop", "web")
    state = _inspect(box, "web")["State"]
    assert (state["Status"], state["Running"], state["Restarting"]) == ("exited", False, False)


@pytest.mark.parametrize("words", [("stop", "-t", "20"), ("kill",), ("rm", "-f")], ids=lambda words: words[0])
def test_who_is_stopped_stays_down(box: Box, words: tuple[str, ...]) -> None:
    steps = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    box.run("run", "-d", "--name", "web", "--restart", "always", "tiny:1", "sh", "-c", steps)
    box.run(*words, "web")
    if words[0] == "rm":
        assert box.output("ps", "-aq") == ""
        return
    box.run("wait", "web")
    assert _inspect(box, "web")["State"]["Status"] == "exited"
    box.run("start", "web")
    assert _inspect(box, "web")["State"]["Status"] == "running"


def test_between_two_starts_it_can_be_stopped_and_removed(box: Box) -> None:
    for name in ("one", "two"):
        box.run("run", "-d", "--name", name, "--restart", "unless-stopped", "tiny:1", "false")
    # The pauses double, so this state lasts longer than a command takes.
    wait_until(lambda: _inspect(box, "one")["RestartCount"] >= 5, what="the fifth restart")
    wait_until(lambda: _inspect(box, "two")["RestartCount"] >= 5, what="the fifth restart")
    wait_until(
        lambda: box.output("ps", "--filter", "name=one", "--format", "{{.Status}}").startswith(
            "Restarting (1)"
        ),
        what="a pause",
    )
    box.run("stop", "one")
    assert _inspect(box, "one")["State"]["Status"] == "exited"
    assert "cannot remove container" in box.run("rm", "two", code=1).stderr
    box.run("rm", "-f", "two")
    assert box.output("ps", "-a", "--format", "{{.Names}}") == "one"


MISTAKES = {
    "odd": "unknown policy 'odd'",
    "always:3": "maximum retry count can only be used with 'on-failure'",
    "on-failure:x": "maximum retry count must be an integer",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_the_policy_is_told(box: Box, text: str) -> None:
    assert MISTAKES[text] in box.run("run", "--restart", text, "tiny:1", code=125).stderr


def test_restart_and_rm_exclude_each_other(box: Box) -> None:
    failed = box.run("run", "--rm", "--restart", "always", "tiny:1", code=125)
    assert "cannot specify both --restart and --rm" in failed.stderr
