"""What people push is on the registry's own origin: a browser must do nothing with it, and nobody must listen
to a document that was made of it."""

import json

import pytest
from sqlalchemy import update

from entrepot.server.db.tables import manifest
from tests.support.images import OCI_MANIFEST, digest_of
from tests.unit.server.api.conftest import BASE, Registry
from tests.unit.server.pages.conftest import visit

pytestmark = pytest.mark.anyio

INERT = {
    "content-disposition": "attachment",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
}


async def stored_as(registry: Registry, media_type: str) -> None:
    """Make all manifests be of a type that no push can give them."""
    change = update(manifest).values(media_type=media_type)
    await registry.services.catalog.write(lambda connection: connection.execute(change) and None)


async def test_whatever_is_pushed_is_inert(team: Registry) -> None:
    made = await team.push("acme/app", "v1")
    blob, missing = next(iter(made.blobs)), "sha256:" + "0" * 64
    for path, status in (
        ("/v2/acme/app/manifests/v1", 200),
        (f"/v2/acme/app/manifests/{made.digest}", 200),
        (f"/v2/acme/app/blobs/{blob}", 200),
        (f"/v2/acme/app/referrers/{made.digest}", 200),
        ("/v2/acme/app/tags/list", 200),
        ("/v2/_catalog", 200),
        ("/v1/search?q=<script>", 200),
        ("/v2/", 200),
        ("/token?scope=repository:<script>:pull", 200),
        (f"/v2/acme/app/manifests/{missing}", 404),
        ("/v2/acme/app/manifests/<script>", 400),
        ("/v2/<script>/manifests/v1", 400),
        (f"/v2/acme/app/blobs/{missing}", 404),
        ("/v2/<script>", 404),
        ("/v2/acme/app/tags/list?n=<script>", 400),
    ):
        for method in ("GET", "HEAD"):
            answer = await team.call(method, path, "root")
            if answer.status_code == 405:
                continue
            assert answer.status_code == status, (method, path)
            assert {name: answer.headers.get(name) for name in INERT} == INERT, (method, path)
    refused = await team.call("GET", "/v2/acme/app/manifests/v1")
    assert refused.status_code == 401
    assert {name: refused.headers.get(name) for name in INERT} == INERT


@pytest.mark.parametrize("media_type", ["text/html", "text/javascript", "a\r\nX-Evil: 1", "text/ht\u2028ml"])
async def test_a_type_that_is_no_manifests_is_never_sent(team: Registry, media_type: str) -> None:
    """Whatever a database may hold."""
    await stored_as(team, media_type)
    for method in ("GET", "HEAD"):
        answer = await team.call(method, "/v2/acme/app/manifests/v1", "root")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "x-evil" not in answer.headers


async def test_private_content_is_kept_by_no_shared_cache(team: Registry) -> None:
    """Nobody in particular may read a public repository; whoever shows who they are may be alone in it."""
    made = await team.push("acme/app", "v1")
    public = await team.push("open/app", "v1")
    for repository, image, who, private in (
        ("acme/app", made, "puller", True),
        ("staff/app", public, "stranger", True),
        ("open/app", public, None, False),
    ):
        scope = f"repository:{repository}:pull"
        headers = {"authorization": f"Bearer {await team.bearer(scope, who)}"}
        blob = next(iter(image.blobs))
        for path, words in (
            (f"blobs/{blob}", {"max-age=31536000", "immutable"}),
            ("manifests/v1", {"no-cache"}),
            (f"manifests/{image.digest}", {"no-cache"}),
            (f"referrers/{image.digest}", {"no-cache"}),
            ("tags/list", {"no-cache"}),
            ("manifests/absent", {"no-cache"}),
        ):
            answer = await team.client.get(f"/v2/{repository}/{path}", headers=headers)
            said = set(answer.headers.get("cache-control", "").split(", ")) - {""}
            assert said == words | ({"private"} if private else set()), (repository, path)
            if "etag" in answer.headers:
                known = {**headers, "if-none-match": answer.headers["etag"]}
                again = await team.client.get(f"/v2/{repository}/{path}", headers=known)
                assert again.status_code == 304
                assert again.headers["cache-control"] == answer.headers["cache-control"]


FROM_STORED_CONTENT = [
    {"origin": "null"},
    {"origin": "null", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    {"referer": f"{BASE}/v2/acme/app/manifests/v1"},
    {"referer": f"{BASE}/v2/acme/app/manifests/v1", "sec-fetch-site": "same-origin"},
    {"referer": f"{BASE}/v1/search?q=x"},
]


@pytest.mark.parametrize("headers", FROM_STORED_CONTENT, ids=lambda headers: "-".join(headers.values())[:60])
async def test_nobody_listens_to_a_document_that_was_pushed(
    team: Registry, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a browser ever run one: the API and the pages refuse what it asks, before they look who asks."""

    async def never(*_: object, **__: object) -> None:
        raise AssertionError("asked who it is")

    root = await visit(team, "root")
    monkeypatch.setattr("entrepot.server.http.guard.authenticate", never)
    for method, path in (
        ("GET", "/api/v1/self"),
        ("GET", "/api/v1/session"),
        ("PATCH", "/api/v1/users/stranger"),
        ("GET", "/"),
        ("GET", "/account"),
        ("POST", "/sign-out"),
    ):
        body = json.dumps({"system_role": "admin"})
        sent = {**root.cookies(), "content-type": "application/json", **headers}
        answer = await team.client.request(method, path, content=body, headers=sent)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (403, "DENIED"), (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "referer": f"{BASE}/repositories/v2/x"},
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "referer": f"{BASE}/projects/token"},
        {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
            "referer": "https://docs.example/v2/about",
        },
        {"referer": "https://docs.example/v2/about"},
        {"referer": "http://["},
    ],
)
async def test_links_programs_and_our_own_pages_are_answered(team: Registry, headers: dict[str, str]) -> None:
    root = await visit(team, "root")
    for path in ("/api/v1/self", "/account"):
        answer = await team.client.get(path, headers={**root.cookies(), **headers})
        assert answer.status_code == 200, (path, headers)


async def test_the_registry_api_itself_asks_for_no_browser_headers(team: Registry) -> None:
    """Clients in browsers (docker's extensions, registry viewers) name their own page."""
    for headers in FROM_STORED_CONTENT:
        answer = await team.call("GET", "/v2/acme/app/manifests/v1", "root", headers=headers)
        assert answer.status_code == 200
    assert answer.headers["content-type"] == OCI_MANIFEST
    assert answer.headers["docker-content-digest"] == digest_of(answer.content)
