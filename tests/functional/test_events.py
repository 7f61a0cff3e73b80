"""`entrepot events`: what happened in a registry, as the installed command shows it."""

import json
import subprocess
from pathlib import Path

from tests.support.images import image, push_image
from tests.support.processes import wait_until
from tests.support.server import ENTREPOT, RunningServer, running_server
from tests.support.tool import Tool
from tests.support.wire import Wire


def pushed(server: RunningServer, tag: str) -> None:
    push_image(Wire(server.port), "acme/app", tag, image([{"a": tag.encode()}]))


def test_events_are_shown_in_order_and_followed(tool: Tool, tmp_path: Path) -> None:
    with running_server(tmp_path / "server", workers=1) as server:
        pushed(server, "v1")
        pushed(server, "v2")

        def shown(*words: str) -> list[dict[str, object]]:
            lines = tool.out("events", "--format", "json", *words, server.host).splitlines()
            return [json.loads(line) for line in lines]

        # Numbers are given behind the commit.
        wait_until(lambda: len(shown("--kind", "push")) == 2, what="two pushes in the feed")
        first, second = shown("--kind", "push")
        assert [one["Facts"]["tags"] for one in (first, second)] == [["v1"], ["v2"]]  # type: ignore[index]
        assert shown("--kind", "push", "--since", str(first["Number"])) == [second]
        assert shown("--kind", "push", "--since", "2999-01-01") == []
        assert "push  acme/app:v1" in tool.out("events", "--project", "acme", server.host)
        assert tool.err("events", "--since", "soon", server.host, code=125).startswith(
            "a number, or a time such as"
        )

        log = tmp_path / "followed"
        with log.open("wb") as output:
            argv = [ENTREPOT, "events", "--follow", "--kind", "push", "--format", "{{.Repository}}"]
            follower = subprocess.Popen([*argv, server.host], env=tool.env, stdout=output)
            try:
                wait_until(lambda: log.read_text().count("acme/app") == 2, what="what was there")
                pushed(server, "v3")
                wait_until(lambda: log.read_text().count("acme/app") == 3, what="what came")
            finally:
                follower.kill()
                follower.wait(30)


def test_a_registry_without_a_feed_is_told(tool: Tool) -> None:
    assert "Error" in tool.err("events", "localhost:1")
