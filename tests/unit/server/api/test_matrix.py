"""A3: every route has a policy, and hidden projects answer as absent ones. What each role is answered is in
the tables of tests/integration/access.
"""

from typing import Any

import pytest
from litestar.handlers import HTTPRouteHandler

from entrepot.server.access.decision.model import Action
from entrepot.server.access.decision.policy import WIRE_ACTIONS
from entrepot.server.api.app import ROUTES as API_ROUTES
from entrepot.server.http.guard import Asked
from entrepot.server.v2.routes import ROUTES as V2_ROUTES
from tests.unit.server.api.conftest import Registry

pytestmark = pytest.mark.anyio


def handlers() -> list[HTTPRouteHandler]:
    return list(API_ROUTES)


def rows() -> list[tuple[str, str, Action | Asked | None, bool, bool]]:
    """(method, path, action, is about a repository, is about a project), of both APIs."""
    found: list[tuple[str, str, Any, bool, bool]] = [
        (route.method, route.pattern, route.action, "{name}" in route.pattern, False) for route in V2_ROUTES
    ]
    for handler in handlers():
        for method in sorted(handler.http_methods - {"HEAD", "OPTIONS"}):
            path = "/api/v1" + min(handler.paths).rstrip("/")
            found.append((method, path, handler.opt.get("action"), "{repository" in path, "{project" in path))
    return sorted(found, key=lambda row: (row[1], row[0]))


def test_every_route_names_an_action() -> None:
    for method, path, action, _repository, _project in rows():
        assert isinstance(action, Action | Asked), f"{method} {path} has no policy"


def test_only_these_routes_ask_nobody() -> None:
    asking_nobody = [f"{method} {path}" for method, path, action, *_ in rows() if action is Asked.NOBODY]
    assert asking_nobody == [
        "GET /api/v1",
        "GET /api/v1/certificates",
        "GET /api/v1/session",
        "POST /api/v1/session",
        "POST /api/v1/setup",
        "GET /api/v1/sign-in/providers",
        "GET /api/v1/sign-in/{provider:str}",
        "GET /api/v1/sign-in/{provider:str}/callback",
    ]


def test_changing_routes_of_the_data_plane_have_a_wire_action() -> None:
    for method, path, action, is_repository, _project in rows():
        if path.startswith("/v2/") and is_repository:
            assert action in WIRE_ACTIONS, f"{method} {path}"


@pytest.mark.parametrize("who", [None, "stranger"], ids=["nobody", "stranger"])
async def test_hidden_and_absent_projects_answer_alike(team: Registry, who: str | None) -> None:
    """A4: whoever may not know that a project is there gets the same answer as for one that is not."""
    await team.project("hidden")
    await team.push("hidden/app", "v1")
    for method, path in (
        ("GET", "/v2/{p}/app/manifests/v1"),
        ("GET", "/v2/{p}/app/tags/list"),
        ("GET", "/v2/{p}/app/blobs/sha256:" + "0" * 64),
        ("POST", "/v2/{p}/app/blobs/uploads/"),
        ("PUT", "/v2/{p}/app/manifests/v1"),
        ("DELETE", "/v2/{p}/app/manifests/v1"),
        ("GET", "/api/v1/projects/{p}"),
        ("GET", "/api/v1/repositories/{p}%2Fapp"),
        ("GET", "/api/v1/repositories/{p}%2Fapp/tags/v1"),
        ("DELETE", "/api/v1/projects/{p}"),
    ):
        answers = [await team.call(method, path.format(p=p), who) for p in ("hidden", "absent")]
        bodies = [a.text.replace("hidden", "X").replace("absent", "X") for a in answers]
        headers = [
            {
                k: v.replace("hidden", "X").replace("absent", "X")
                for k, v in a.headers.items()
                if k != "x-request-id"
            }
            for a in answers
        ]
        assert (answers[0].status_code, bodies[0], headers[0]) == (
            answers[1].status_code,
            bodies[1],
            headers[1],
        )
        assert answers[0].status_code in {401, 403}
