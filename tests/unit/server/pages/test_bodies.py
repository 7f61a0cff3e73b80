"""How much of a form is read, from whom, and what stays of it."""

import functools
import gc
from typing import Any
from urllib.parse import quote_plus

import pytest

from entrepot.server.pages.kit.form_body import FORM_BYTES, LARGE_FORM_BYTES
from tests.unit.server.api.conftest import BASE, PASSWORD, Registry
from tests.unit.server.pages.conftest import Person, visit

pytestmark = pytest.mark.anyio

FORM = "application/x-www-form-urlencoded"
_HARMLESS = {"normalize_headers", "normalize_path", "parse_path_params", "_handle_routing"}
"""Caches of what routes answer with, and of paths: there are secrets in none, and they are short."""


async def post(person: Person, path: str, body: Any, **headers: str) -> Any:
    sent = {"origin": BASE, "sec-fetch-site": "same-origin", "content-type": FORM, **person.cookies()}
    return await person.registry.client.post(path, content=body, headers={**sent, **headers})


class Pieces:
    """A body of unknown length; counts what was taken of it."""

    def __init__(self, piece: bytes, count: int) -> None:
        self._piece, self._count, self.taken = piece, count, 0

    async def __aiter__(self) -> Any:
        for _ in range(self._count):
            self.taken += len(self._piece)
            yield self._piece


@pytest.mark.parametrize("path", ["/sign-in", "/setup", "/sign-out", "/repositories/acme/app/-/settings"])
async def test_strangers_send_no_more_than_a_form_has(team: Registry, path: str) -> None:
    """413 before anything is taken apart, with Content-Length or while it comes."""
    nobody = await visit(team, None)
    body = b"name=x&password=" + b"a" * FORM_BYTES
    assert (await post(nobody, path, body)).status_code == 413
    pieces = Pieces(b"a=1&" * 1024, 5 * 256)
    answer = await post(nobody, path, pieces)
    assert answer.status_code == 413
    assert "Send less at once" in answer.text


async def test_a_readme_may_be_long_for_who_is_signed_in(team: Registry) -> None:
    owner = await visit(team, "owner")
    path = "/repositories/acme/app/-/settings"
    readme = "寸" * 100_000
    body = f"_csrf={owner.token}&version=0&description=x&labels=&readme={quote_plus(readme)}"
    assert FORM_BYTES < len(body) < LARGE_FORM_BYTES
    answer = await post(owner, path, body)
    assert answer.status_code == 303, answer.text
    too_much = body + "a" * LARGE_FORM_BYTES
    assert (await post(owner, path, too_much)).status_code == 413
    other = "/account"
    assert (await post(owner, other, body)).status_code == 413, "no other page takes as much"


async def test_a_form_with_very_many_fields_is_not_taken_apart(team: Registry) -> None:
    nobody = await visit(team, None)
    answer = await post(nobody, "/sign-in", b"&" * 2000)
    assert answer.status_code == 400
    assert "500 fields" in answer.text


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json", "text/plain", ""])
async def test_other_kinds_of_body_are_not_read(team: Registry, kind: str) -> None:
    nobody = await visit(team, None)
    pieces = Pieces(b"--x\r\n" * 1024, 5 * 256)
    assert (await post(nobody, "/sign-in", pieces, **{"content-type": kind})).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "who"),
    [
        ("POST", "/api/v1/session", None),
        ("POST", "/api/v1/setup", None),
        ("PATCH", "/api/v1/self", "owner"),
        ("POST", "/api/v1/projects", "root"),
    ],
)
async def test_the_api_takes_as_little(team: Registry, method: str, path: str, who: str | None) -> None:
    body = b'{"name": "' + b"a" * FORM_BYTES + b'"}'
    answer = await team.call(method, path, who, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 413, answer.text


async def test_the_api_takes_a_long_readme_and_notifications(team: Registry) -> None:
    json = {"readme": "😀" * 100_000}
    assert (
        await team.call("PATCH", "/api/v1/repositories/acme%2Fapp", "owner", json=json)
    ).status_code == 200
    body = b'{"events": [], "x": "' + b"a" * 3_000_000 + b'"}'
    path = "/api/v1/upstreams/docker.test/events"
    headers = {"content-type": "application/vnd.docker.distribution.events.v2+json"}
    assert (await team.call("POST", path, "root", content=body, headers=headers)).status_code == 204
    assert (await team.call("POST", path, "root", content=body * 2, headers=headers)).status_code == 413


def caches() -> list[Any]:
    """Of the framework, but for the harmless ones."""
    return [
        found
        for found in gc.get_objects()
        if isinstance(found, functools._lru_cache_wrapper)
        and str(found.__module__).startswith("litestar")
        and found.__name__ not in _HARMLESS
    ]


async def test_nothing_that_was_sent_is_remembered(team: Registry) -> None:
    """The framework kept the last 1,024 forms, queries and cookies, passwords and sessions included."""
    for cache in caches():
        cache.cache_clear()  # of what other tests did
    nobody = await visit(team, None)
    await nobody.post("/sign-in", name="owner", password=PASSWORD, next="/")
    await nobody.get("/sign-in?next=/&problem=secret-in-a-query")
    await team.call("GET", "/api/v1/repositories?q=secret-in-a-query", "owner")
    assert [(cache.__name__, cache.cache_info()) for cache in caches() if cache.cache_info().currsize] == []
