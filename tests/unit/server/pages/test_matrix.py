"""Every page has a policy. What each role is answered is in the tables of tests/integration/access."""

from typing import Any

from entrepot.server.access.decision.model import Action
from entrepot.server.http.guard import Asked
from entrepot.server.pages.app import PAGES
from entrepot.server.pages.kit import static


def rows() -> list[tuple[str, str, Any]]:
    """(method, path, action) of every route of the site."""
    found = [
        (method, min(handler.paths), handler.opt.get("action"))
        for handler in (*PAGES, *static.ROUTES)
        for method in handler.http_methods - {"HEAD", "OPTIONS"}
    ]
    return sorted(found, key=lambda row: (row[1], row[0]))


def test_every_page_names_an_action() -> None:
    for method, path, action in rows():
        assert isinstance(action, Action | Asked), f"{method} {path} has no policy"


def test_only_these_pages_ask_nobody() -> None:
    assert [f"{method} {path}" for method, path, action in rows() if action is Asked.NOBODY] == [
        "GET /setup",
        "POST /setup",
        "GET /sign-in",
        "POST /sign-in",
        "POST /sign-out",
        "GET /static/{version:str}/{name:str}",
    ]
