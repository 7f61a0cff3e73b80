"""From Harbor, Quay and Docker Hub: projects, descriptions, content, and a list of what is left to do."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.moving.portals import HARBOR, HUB, QUAY, portal
from tests.support.images import image, push_image
from tests.support.peers import Peer, docker_registry
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire

DESCRIBED = (
    "SELECT repo.name, repo_profile.description FROM repo_profile JOIN repo ON repo.id = repo_id"
    " WHERE repo_profile.description <> ''"
)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with docker_registry(tmp_path_factory.mktemp("content")) as peer:
        for repository in ("team/app", "hidden/app"):
            push_image(Wire(peer.port), repository, "v1", image([{"of": repository.encode()}]))
        yield peer


def moved(server: RunningServer, kind: str, *args: str) -> dict[str, Any]:
    return dict(json.loads(server.admin("import", kind, *args, "--json").stdout))


def projects(server: RunningServer) -> dict[str, str]:
    listed = server.admin("project", "list", "--format", "json").stdout
    return {
        str(one["name"]): str(one["visibility"])
        for one in map(json.loads, listed.splitlines())
        if "name" in one
    }


@pytest.mark.parametrize("kind", ["harbor", "quay", "hub"])
def test_a_portal_comes_in(tmp_path: Path, content: Peer, kind: str) -> None:
    pages = {"harbor": HARBOR, "quay": QUAY, "hub": HUB}[kind]
    with portal(pages, content.port) as there, running_server(tmp_path, start=False) as server:
        server.admin("migrate")
        secret = tmp_path / "token"
        secret.write_text("of-an-application\n")
        args = {
            "harbor": [there.url],
            "quay": [there.url, "--namespace", "team", "--token-file", str(secret)],
            "hub": ["--namespace", "team", "--url", there.url, "--content", content.url],
        }[kind]
        report = moved(server, kind, *args)
        count = 2 if kind == "harbor" else 1
        assert (report["manifests"], report["tags"], report["left"]) == (count, count, [])
        by_hand = {
            "harbor": ["team: immutable tags", "team: retention", "team: robot$team+ci", "team: user ann"],
            "quay": ["team/helm", "team: team owners", "team: team+ci"],
            "hub": [],
        }[kind]
        assert [one["what"] for one in report["by_hand"]] == by_hand
        assert projects(server)["team"] == ("private" if kind == "hub" else "public")
        with contextlib.closing(sqlite3.connect(server.data / "catalog.db")) as catalog:
            described = catalog.execute(DESCRIBED).fetchall()
        assert described == [("team/app", "The app")]
        if kind == "quay":
            assert {said for _, said in there.asked} == {"Bearer of-an-application"}
