"""The routing table: every row names an action, and paths find the row that is meant."""

import pytest

from entrepot.server.access.decision.model import Action
from entrepot.server.v2.routes import ROUTES, Router

D = "sha256:" + "a" * 64
ROUTER = Router()


def test_every_route_names_its_action() -> None:
    """A route that asks nobody would be open to everybody."""
    assert all(isinstance(route.action, Action) for route in ROUTES)
    assert len({(route.method, route.pattern) for route in ROUTES}) == len(ROUTES)


def test_changes_ask_for_more_than_reading() -> None:
    reading = {Action.PING, Action.LIST, Action.READ, Action.PULL}
    for route in ROUTES:
        if route.method not in ("GET", "HEAD"):
            assert route.action not in reading, route


@pytest.mark.parametrize(
    ("method", "path", "pattern", "arguments"),
    [
        ("GET", "/v2/", "/v2[/]", {}),
        ("GET", "/v2", "/v2[/]", {}),
        ("GET", "/v2/a/manifests/t", "/v2/{name}/manifests/{reference}", {"name": "a", "reference": "t"}),
        ("PUT", f"/v2/a/b/manifests/{D}", "/v2/{name}/manifests/{reference}", None),
        ("DELETE", f"/v2/a/manifests/{D}", "/v2/{name}/manifests/{digest}", {"name": "a", "digest": D}),
        ("DELETE", "/v2/a/manifests/t", "/v2/{name}/manifests/{tag}", {"name": "a", "tag": "t"}),
        ("DELETE", f"/v2/a/manifests/{D.replace(':', '%3A')}", "/v2/{name}/manifests/{digest}", None),
        ("GET", f"/v2/a/blobs/{D}", "/v2/{name}/blobs/{digest}", {"name": "a", "digest": D}),
        ("POST", "/v2/a/blobs/uploads/", "/v2/{name}/blobs/uploads[/]", {"name": "a"}),
        ("POST", "/v2/a/blobs/uploads", "/v2/{name}/blobs/uploads[/]", {"name": "a"}),
        ("PATCH", "/v2/a/blobs/uploads/1", "/v2/{name}/blobs/uploads/{upload}", {"name": "a", "upload": "1"}),
        ("GET", "/v2/blobs/uploads/manifests/t", "/v2/{name}/manifests/{reference}", {"name": "blobs/uploads",
         "reference": "t"}),
        ("GET", "/v2/tags/list/tags/list", "/v2/{name}/tags/list[/]", {"name": "tags/list"}),
        ("GET", f"/v2/a/referrers/{D}", "/v2/{name}/referrers/{subject}", {"name": "a", "subject": D}),
        ("GET", "/v2/_catalog", "/v2/_catalog[/]", {}),
    ],
)  # fmt: skip
def test_paths_find_their_row(method: str, path: str, pattern: str, arguments: dict[str, str] | None) -> None:
    found = ROUTER.find(method, path)
    assert not isinstance(found, frozenset)
    assert found[0].pattern == pattern
    assert arguments is None or found[1] == arguments


@pytest.mark.parametrize(
    "path", ["/v2/a", "/v2/manifests/t", "/v2//manifests/", "/v2/a/b", "/v1/nothing", "/v2x"]
)
def test_other_paths_find_nothing(path: str) -> None:
    assert ROUTER.find("GET", path) == frozenset()


def test_other_methods_are_told() -> None:
    assert ROUTER.find("POST", "/v2/a/manifests/t") == frozenset({"GET", "HEAD", "PUT", "DELETE"})
