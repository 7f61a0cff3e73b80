"""X1 and X2: other sites change nothing, and other people's text does nothing."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from entrepot.server.access.secrets.sessions import cookie_name
from entrepot.server.http.session_cookie import local_path
from tests.support.images import OCI_CONFIG, OCI_MANIFEST, digest_of
from tests.unit.server.api.conftest import BASE, PASSWORD, Registry
from tests.unit.server.pages.conftest import visit

pytestmark = pytest.mark.anyio


async def test_form_of_another_site_changes_nothing(team: Registry) -> None:
    owner, other = await visit(team, "owner"), await visit(team, "stranger")
    for headers, token in (
        ({}, owner.token),
        ({"origin": "null"}, owner.token),
        ({"origin": "https://evil.example"}, owner.token),
        ({"origin": "http://registry.test.evil.example"}, owner.token),
        ({"origin": "https://registry.test"}, owner.token),
        ({"origin": BASE, "sec-fetch-site": "cross-site"}, owner.token),
        ({"origin": BASE, "sec-fetch-site": "same-site"}, owner.token),
        ({"origin": BASE}, None),
        ({"origin": BASE}, other.token),
    ):
        answer = await team.client.post(
            "/projects/acme/delete",
            data={"name": "acme", **({"_csrf": token} if token else {})},
            headers={**owner.cookies(), **headers},
        )
        assert answer.status_code == 403, headers
        assert (await owner.get("/projects/acme")).status_code == 200


async def test_nobody_is_signed_in_by_another_site(team: Registry) -> None:
    """Login CSRF: a stranger's page must not sign a visitor in as the stranger."""
    nobody = await visit(team, None)
    fields = {"name": "owner", "password": PASSWORD, "next": "/"}
    for headers, token in (
        ({"origin": "https://evil.example"}, nobody.token),
        ({}, nobody.token),
        ({"origin": BASE}, "0" * 64),
    ):
        answer = await team.client.post(
            "/sign-in", data={**fields, "_csrf": token}, headers={**nobody.cookies(), **headers}
        )
        assert answer.status_code == 403
        assert cookie_name("http") not in answer.headers.get("set-cookie", "")
    assert (await nobody.post("/sign-in", **fields)).status_code == 303


async def test_sign_in_leads_to_this_site_only(team: Registry) -> None:
    nobody = await visit(team, None)
    for target in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/\tx",
        "evil.example",
        "",
    ):
        assert local_path(target) == "/"
        answer = await nobody.post("/sign-in", name="owner", password=PASSWORD, next=target)
        assert answer.headers["location"] == "/", target


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/☃?q=寸#é", "/%E2%98%83?q=%E5%AF%B8#%C3%A9"),
        ('/a b"<>', "/a%20b%22%3C%3E"),
        ("/%E2%98%83%0D%0A", "/%E2%98%83%0D%0A"),
        ("/\x85a\u2028b", "/%C2%85a%E2%80%A8b"),
        ("/[", "/["),
        ("/a\r\nSet-Cookie: a=b", "/"),
        ("/a\x1b\x7f", "/"),
    ],
)
async def test_odd_places_to_go_on_to_are_no_failure(team: Registry, target: str, location: str) -> None:
    """A header takes ASCII: what else a person's address bar may hold is encoded, or left out."""
    nobody, owner = await visit(team, None), await visit(team, "owner")
    signed_in = await nobody.post("/sign-in", name="owner", password=PASSWORD, next=target)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, location)
    there_already = await owner.get("/sign-in?" + urlencode({"next": target}))
    assert (there_already.status_code, there_already.headers["location"]) == (303, location)
    assert (await nobody.get("/sign-in?" + urlencode({"next": target}))).status_code == 200


async def test_session_does_not_open_the_registry_api(team: Registry) -> None:
    owner = await visit(team, "owner")
    assert (await owner.get("/v2/acme/app/manifests/v1")).status_code == 401
    put = await team.client.put(
        "/v2/acme/app/manifests/v2", content=b"{}", headers={"origin": BASE, **owner.cookies()}
    )
    assert put.status_code == 401


async def test_pages_run_and_load_only_their_own_files(team: Registry) -> None:
    owner = await visit(team, "owner")
    for path in ("/", "/projects/acme", "/repositories/acme/app", "/nowhere", "/projects/absent"):
        answer = await owner.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        for inline in ("<style", " style=", "onclick=", "onload=", "javascript:"):
            assert inline not in answer.text, (path, inline)
        assert answer.text.count("<script") == answer.text.count('<script src="/static/')


async def test_what_a_set_up_page_loads_is_not_asked_for_with_its_secret(team: Registry) -> None:
    """Proxies log where a request came from."""
    page = await team.client.get("/setup?token=anything")
    assert page.headers["referrer-policy"] == "strict-origin"
    assert (await team.client.get("/sign-in")).headers["referrer-policy"] == "same-origin"


async def test_session_cookie_is_for_this_host_over_https(team: Registry) -> None:
    nobody = await visit(team, None)
    answer = await nobody.post("/sign-in", name="owner", password=PASSWORD, next="/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert cookie_name("https").startswith("__Host-")


async def test_sign_out_and_password_change_end_sessions(team: Registry) -> None:
    here, there = await visit(team, "owner"), await visit(team, "owner")
    wrong = await here.post(
        "/account/password", current="no", new="another good one", repeat="another good one"
    )
    assert "not your present password" in wrong.text
    done = await here.post(
        "/account/password", current=PASSWORD, new="another good one", repeat="another good one"
    )
    assert done.status_code == 303
    assert (await there.get("/account")).status_code == 303
    again = await visit(team, "owner")
    assert (await again.post("/sign-out")).status_code == 303
    assert (await again.get("/account")).status_code == 303


EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


async def push_evil(registry: Registry) -> str:
    """An image with evil words wherever an image has words."""
    layer = b"layer"
    config = json.dumps(
        {
            "os": EVIL,
            "architecture": "amd64",
            "author": EVIL,
            "created": EVIL,
            "config": {
                "Env": [f"A={EVIL}", EVIL],
                "Labels": {EVIL: EVIL},
                "Entrypoint": [EVIL],
                "ExposedPorts": {EVIL: {}},
                "User": EVIL,
            },
            "history": [{"created_by": EVIL}],
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    ).encode()
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": "text/html", "digest": digest_of(layer), "size": len(layer)}],
        "annotations": {"evil": EVIL},
    }
    body = json.dumps(manifest).encode()
    for data in (layer, config):
        await registry.call(
            "POST", f"/v2/acme/evil/blobs/uploads/?digest={digest_of(data)}", "root", content=data
        )
    referrer = json.dumps(
        {
            **manifest,
            "artifactType": "text/html",
            "subject": {"mediaType": OCI_MANIFEST, "digest": digest_of(body), "size": len(body)},
        }
    ).encode()
    for name, content in (("v1", body), (digest_of(referrer), referrer)):
        answer = await registry.call(
            "PUT",
            f"/v2/acme/evil/manifests/{name}",
            "root",
            content=content,
            headers={"content-type": OCI_MANIFEST},
        )
        assert answer.status_code == 201, answer.text
    return digest_of(layer)


async def test_words_of_images_and_people_stay_words(team: Registry) -> None:
    await push_evil(team)
    owner, root = await visit(team, "owner"), await visit(team, "root")
    await team.push("acme/evil", "v2")
    saved = await owner.post(
        "/repositories/acme/evil/-/settings", description=EVIL, readme=EVIL, labels="", version="0"
    )
    assert saved.status_code == 303
    await owner.post("/account", display_name=EVIL, email="a@example.org")
    for person, path in (
        (owner, "/"),
        (owner, "/search?q=" + "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
        (owner, "/repositories/acme/evil"),
        (owner, "/repositories/acme/evil?filter=%22%3E%3Cscript%3E"),
        (owner, "/repositories/acme/evil/-/tags/v1"),
        (owner, "/repositories/acme/evil/-/compare?from=v1&to=v2"),
        (owner, "/repositories/acme/evil/-/compare?from=%22%3E%3Cscript%3E&to=v2"),
        (owner, "/repositories/acme/evil/-/settings"),
        (owner, "/projects/acme/activity"),
        (owner, "/%22%3E%3Cscript%3Ealert(1)%3C/script%3E"),
        (root, "/admin/users/owner"),
        (root, "/admin/audit?who=%22%3E%3Cscript%3E"),
        (root, "/admin/explain?user=%22%3E%3Cscript%3E&action=pull&on="),
        (root, "/sign-in?problem=%22%3E%3Cscript%3E"),
    ):
        text = (await person.get(path)).text
        assert "<script>" not in text, path
        assert "<img" not in text, path


async def test_blobs_are_never_shown_by_a_browser(team: Registry) -> None:
    digest = await push_evil(team)
    answer = await team.call("GET", f"/v2/acme/evil/blobs/{digest}", "root")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "attachment" in answer.headers["content-disposition"]
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_export_holds_no_formulas(team: Registry) -> None:
    root = await visit(team, "root")
    await root.post("/account", display_name="=HYPERLINK(1)", email="r@example.org")
    made = await root.post("/admin/teams", name="devs", description="", external_group="@corp:x")
    assert made.status_code == 303
    for line in (await root.get("/admin/audit.csv")).text.splitlines()[1:]:
        assert not any(cell.startswith(("=", "@", "+")) for cell in line.replace('"', "").split(","))
