"""`search`: a registry's own answer, filtered."""

import json

import pytest

from entrepot.actions.errors import BadRequest, InvalidFilter
from entrepot.actions.search import search
from entrepot.client.settings import ClientSettings
from tests.support.lying_registry import Reply, Request, lying_registry

FOUND = [
    {"name": "nginx", "description": "web", "star_count": 9, "is_official": True, "is_automated": False},
    {"name": "u/nginx", "description": None, "star_count": 1, "is_official": False, "is_automated": False},
]


def answer(request: Request) -> Reply:
    if request.path == "/v1/search":
        return Reply(200, {"Content-Type": "application/json"}, json.dumps({"results": FOUND}).encode())
    return Reply(200)


def test_results_are_those_that_fit(settings: ClientSettings) -> None:
    with lying_registry(answer) as registry:
        term = f"{registry.host}/nginx"
        assert [one.name for one in search(term, settings=settings)] == ["nginx", "u/nginx"]
        assert [one.name for one in search(term, filters=["stars=2"], settings=settings)] == ["nginx"]
        only = search(term, filters=["is-official=false"], settings=settings)
        assert [one.name for one in only] == ["u/nginx"]
        asked = [one.query for one in registry.requests if one.path == "/v1/search"]
    assert asked[0]["q"] == ["nginx"]


def test_what_cannot_be_asked_is_refused(settings: ClientSettings) -> None:
    with pytest.raises(InvalidFilter):
        search("nginx", filters=["stars=many"], settings=settings)
    with pytest.raises(BadRequest):
        search("nginx", limit=1000, settings=settings)
