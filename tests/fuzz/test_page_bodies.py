"""Bodies that strangers send to pages, API and token service: refused in words, never a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx
import pytest
from hypothesis import example
from hypothesis import strategies as st

from entrepot.errors import InvalidInput
from entrepot.server.compose import build, prepare
from entrepot.server.config.model import AccessSection, Config, LogSection, ServerSection
from entrepot.server.http.crowd import Crowd
from entrepot.server.http.front import Front
from entrepot.server.http.probes import Probes
from entrepot.server.http.watch import TransferWatch
from entrepot.server.pages.kit.form_body import FORM_BYTES, MAX_FIELDS, parse_form
from entrepot.server.pages.kit.form_key import form_token, new_form_key
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.process.app import RegistryApp
from entrepot.server.process.site import open_site
from entrepot.server.telemetry.access_log import AccessLog, RequestIds
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.dispatch import V2Application
from tests.support.fuzz import fuzz

BASE = "http://registry.test"
SCRIPT = "<script>alert(1)</script>"
KEY = new_form_key()

# Pieces that forms are made of, so that many draws are nearly right.
PIECES = st.sampled_from(
    [
        *(
            piece.encode()
            for piece in ("&", "=", "&&", "%", "%0", "%00", "%zz", "%ff%fe", "+", ";", "a", "é")
        ),
        *(
            name + b"="
            for name in (b"name", b"password", b"next", b"token", b"repeat", b"grant_type", b"scope")
        ),
        b"_csrf=" + form_token(KEY).encode() + b"&",
        b"password",
        b"refresh_token",
        b"repository:a/b:pull",
        quote_plus(SCRIPT).encode(),
        b"\x00",
        b"\xff",
        b"{",
        b'{"name": "x", "password": ',
        b'"\\ud800"',
        b"[" * 500,
        b"&" * (MAX_FIELDS + 1),
        b"x" * FORM_BYTES,
    ]
)
BODIES = st.one_of(st.lists(PIECES, max_size=12).map(b"".join), st.binary(max_size=300))
KINDS = st.sampled_from(
    [
        "application/x-www-form-urlencoded",
        "APPLICATION/X-WWW-FORM-URLENCODED; charset=utf-7",
        "application/json",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "text/plain",
        "",
    ]
)
PATHS = st.sampled_from(
    ["/sign-in", "/sign-out", "/setup", "/account", "/api/v1/session", "/api/v1/setup", "/token", "/nowhere"]
)


@fuzz(body=BODIES)
@example(body=b"&" * (MAX_FIELDS + 1))
@example(body=b"a=%00b")
def test_a_form_is_refused_or_no_larger_than_what_was_sent(body: bytes) -> None:
    try:
        fields = parse_form(body)
    except InvalidInput:
        return
    assert sum(len(values) for values in fields.values()) <= MAX_FIELDS
    assert sum(len(name) + sum(map(len, values)) for name, values in fields.items()) <= len(body)
    assert not any("\0" in value for values in fields.values() for value in values)


@fuzz(fields=st.lists(st.tuples(st.text(max_size=20), st.text(max_size=50)), max_size=20))
def test_a_form_says_what_a_browser_put_in(fields: list[tuple[str, str]]) -> None:
    wanted: dict[str, list[str]] = {}
    for name, value in fields:
        wanted.setdefault(name, []).append(value.replace("\0", ""))
    assert parse_form(urlencode(fields).encode()) == wanted


@fuzz(value=st.one_of(st.text(max_size=60), st.sampled_from(["1e400", "nan GB", "-0", "9" * 400, "١٢ MB"])))
def test_a_field_is_read_or_complained_about(value: str) -> None:
    form = PageForm({"field": [value]})
    size, expiry = form.size("field"), form.expiry("field", now=0)
    assert size is None or 0 <= size <= 2**62
    assert expiry is None or form.errors or expiry > 0
    assert form.choice("field", ("a", "b")) in {"a", "b"}
    assert len(form.secret("field", required="!")) <= 1025


class _Server:
    """A registry with accounts in this process, and the loop it runs in."""

    runner: asyncio.Runner
    client: httpx.AsyncClient


@pytest.fixture(scope="module", autouse=True)
def _registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        _Server.runner = runner
        _Server.client = runner.run(_open(tmp_path_factory.mktemp("bodies"), stack))
        yield
        runner.run(stack.aclose())


async def _open(folder: Path, stack: AsyncExitStack) -> httpx.AsyncClient:
    config = Config(
        server=ServerSection(data=folder),
        access=AccessSection(mode="accounts"),
        log=replace(LogSection(), access="off"),
    )
    facts = await prepare(config)
    services = await build(config, facts["mode"])
    stack.push_async_callback(services.close)
    site = await stack.enter_async_context(open_site(services))
    front = Front(
        RegistryApp(V2Application(V2Context.of(services)), Probes(services.metrics, services.checks), site),
        config=config,
        metrics=services.metrics,
        access_log=AccessLog("off"),
        ids=RequestIds(),
        watch=TransferWatch(),
        crowd=Crowd(),
    )
    transport = httpx.ASGITransport(app=front, client=("192.0.2.7", 1234))
    return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=BASE))


@fuzz(short=60, long=20_000, path=PATHS, kind=KINDS, body=BODIES, chunked=st.booleans())
@example(path="/sign-in", kind="application/x-www-form-urlencoded", body=b"x" * 100_000, chunked=True)
@example(
    path="/api/v1/session", kind="application/json", body=b'{"name":"\\ud800","password":""}', chunked=False
)
@example(path="/token", kind="", body=b"grant_type=password&username=%ff&password=%00", chunked=False)
def test_no_body_makes_the_registry_fail(path: str, kind: str, body: bytes, chunked: bool) -> None:
    async def pieces() -> Any:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    headers = {
        "origin": BASE,
        "sec-fetch-site": "same-origin",
        "cookie": f"entrepot-form={KEY}",
        **({"content-type": kind} if kind else {}),
    }
    content = pieces() if chunked else body
    answer = _Server.runner.run(_Server.client.post(path, content=content, headers=headers))
    assert answer.status_code < 500, answer.text
    assert SCRIPT not in answer.text
    if len(body) > FORM_BYTES:
        assert answer.status_code >= 400
