"""Every route × role × kind of repository, as it answers, against tables that people have read.

The rows are made from the routing tables: a new route changes a table, and one that changes something has to
be told what to send (`asking.py`). Read the difference line by line, then write the tables anew:

    make golden
"""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from entrepot.server.api.app import ROUTES as API_ROUTES
from entrepot.server.http.guard import Asked
from entrepot.server.pages.app import PAGES
from entrepot.server.pages.kit import static
from entrepot.server.process.app import PROBES
from entrepot.server.v2.routes import ROUTES as V2_ROUTES
from tests.integration.access.asking import ASKED, FORMS, address
from tests.integration.access.people import ROLES, Kind, World

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
OF_REPOSITORIES = ("private", "latest", "public", "signed-in", "deleted", "new", "absent")
OF_PROJECTS = ("private", "public", "signed-in", "closed", "absent")
Row = tuple[str, str, Any]


def data_plane() -> list[Row]:
    return [(route.method, route.pattern, route.action) for route in V2_ROUTES]


def management() -> list[Row]:
    return [
        (method, "/api/v1" + min(handler.paths).rstrip("/"), handler.opt.get("action"))
        for handler in API_ROUTES
        for method in handler.http_methods - {"HEAD", "OPTIONS"}
    ]


def pages() -> list[Row]:
    return [
        (method, min(handler.paths), handler.opt.get("action"))
        for handler in (*PAGES, *static.ROUTES)
        for method in handler.http_methods - {"HEAD", "OPTIONS"}
    ]


def kinds_of(pattern: str) -> tuple[str, ...]:
    if "{name}" in pattern or "{repository" in pattern:
        return OF_REPOSITORIES
    return OF_PROJECTS if "{project" in pattern else ("",)


def line(kind: str, cells: list[str]) -> str:
    return f"  {kind:<9} " + " ".join(f"{cell:<7}" for cell in cells).rstrip()


def heading() -> list[str]:
    who = [f"# {role:<7} {words}" for role, words in ROLES.items()]
    return [*who, "", "#" + line("", list(ROLES))[1:]]


def check(name: str, text: list[str]) -> None:
    made, golden = "\n".join(text) + "\n", HERE / f"{name}.golden"
    if os.environ.get("ENTREPOT_WRITE_GOLDEN"):
        golden.write_text(made)
    assert made == golden.read_text()


def test_something_is_sent_to_every_route_that_changes_something() -> None:
    changing = {f"{m} {p}" for m, p, _ in (*data_plane(), *management()) if m not in {"GET", "HEAD"}}
    told = {key for key in ASKED if not key.startswith("GET")}
    assert told == changing
    assert set(FORMS) == {f"{m} {p}" for m, p, _ in pages() if m != "GET"}


async def ask(world: World, role: str, method: str, pattern: str, kind: Kind) -> httpx.Response:
    more = dict(ASKED.get(f"{method} {pattern}", lambda _w, _k: {})(world, kind))
    more["headers"] = {**more.get("headers", {}), **world.headers(role)}
    return await world.registry.client.request(method, address(pattern, world, kind), **more)


async def browse(world: World, role: str, method: str, pattern: str, kind: Kind) -> httpx.Response:
    headers, token = world.browser(role)
    path = address(pattern, world, kind)
    if method == "GET":
        more = ASKED.get(f"GET {pattern}", lambda _w, _k: {})(world, kind)
        return await world.registry.client.get(path, headers=headers, **more)
    fields = {"_csrf": token, **FORMS[f"{method} {pattern}"](world, kind)}
    return await world.registry.client.post(path, headers=headers, data=fields)


def outcome(answer: httpx.Response) -> str:
    """The status; `in` when a browser is sent to sign in."""
    if answer.status_code == 303 and answer.headers["location"].startswith("/sign-in"):
        return "in"
    return str(answer.status_code)


async def table(
    world: World, restore: Callable[[], None], rows: list[Row], way: Callable[..., Any]
) -> list[str]:
    text = heading()
    for method, pattern, action in sorted(rows, key=lambda row: (row[1], row[0])):
        asks = {Asked.NOBODY: "nobody", Asked.SIGNED_IN: "for anybody signed in"}.get(action, action)
        text.append(f"{method} {pattern} asks {asks}")
        for name in kinds_of(pattern):
            cells = []
            for role in ROLES:
                answer = await way(world, role, method, pattern, world.kinds[name or "private"])
                world.registry.client.cookies.clear()
                assert answer.status_code < 500, (method, pattern, name, role, answer.text)
                if method not in {"GET", "HEAD"} and answer.status_code < 400:
                    restore()
                cells.append(outcome(answer))
            text.append(line(name, cells))
    return text


async def test_data_plane(world: World, restore: Callable[[], None]) -> None:
    check("data-plane", await table(world, restore, data_plane(), ask))


async def test_management_api(world: World, restore: Callable[[], None]) -> None:
    check("management-api", await table(world, restore, management(), ask))


async def test_pages(world: World, restore: Callable[[], None]) -> None:
    check("pages", await table(world, restore, pages(), browse))


async def granted(world: World, role: str, scope: str, service: str) -> str:
    """What the token holds: `r`ead, `p`ull, `w`rite (push), `d`elete, `*`; else the status."""
    asked = {"scope": scope, "service": service}
    answer = await world.registry.client.get("/token", params=asked, headers=world.basic(role))
    if answer.status_code != 200:
        return str(answer.status_code)
    part = answer.json()["token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    own = claims.get("entrepot", {}).get("s") or []
    held = {action for scope in own for action in scope[1]}
    held |= {action for scope in claims["access"] for action in scope["actions"]}
    letters = {"read": "r", "pull": "p", "push": "w", "delete": "d", "*": "*"}
    return "".join(letters[action] for action in sorted(held, key=list(letters).index)) or "-"


async def test_token_service(world: World) -> None:
    text = heading()
    for words, service in (("for this registry", ""), ("for a Docker Registry", "docker.test")):
        text.append(f"GET /token {words}, to pull, push and delete")
        for name in OF_REPOSITORIES:
            scope = f"repository:{world.kinds[name].repository}:pull,push,delete"
            text.append(line(name, [await granted(world, role, scope, service) for role in ROLES]))
        text.append(f"GET /token {words}, to list all repositories")
        text.append(line("", [await granted(world, role, "registry:catalog:*", service) for role in ROLES]))
    text.append("POST /token with a password")
    cells = []
    for role in ROLES:
        shown = world.basic(role).get("authorization", "").partition(" ")
        pair = base64.b64decode(shown[2]).decode().partition(":") if shown[0] == "Basic" else ("", "", "")
        form = {"grant_type": "password", "service": "", "username": pair[0], "password": pair[2]}
        cells.append(outcome(await world.registry.client.post("/token", data=form)))
    text.append(line("", cells))
    for path in sorted(PROBES):
        text.append(f"GET {path}")
        answers = [await world.registry.client.get(path, headers=world.headers(role)) for role in ROLES]
        text.append(line("", [outcome(answer) for answer in answers]))
    check("token-service", text)
