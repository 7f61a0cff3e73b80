"""What a developer pushes is opened in an admin's browser, and does nothing there.

Chromium is given each kind of answer as it comes; then with one protection after the other taken away on the
way, since each has to hold alone.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Error, Page, Request, Response, Route, expect

from tests.browser.conftest import PASSWORD, Site
from tests.support.images import OCI_CONFIG, OCI_MANIFEST, digest_of, push_blob

pytestmark = pytest.mark.timeout(400)

# Says in the title that it ran, and who it is to the API.
ATTACK = (
    "<script>document.title='ran';"
    "fetch('/api/v1/session').then(a => a.json()).then(s => document.title = 'ran as ' + s.name)</script>"
)
MISSING = "sha256:" + "0" * 64


@dataclass
class Planted:
    """Paths of what was pushed to a repository that everybody may read."""

    manifest: str
    blob: str
    referrers: str


@pytest.fixture(scope="module")
def site(empty_site: Site) -> Site:
    """With an admin, a developer, and a project that everybody may read."""
    empty_site.become_admin()
    empty_site.api("POST", "/projects", {"name": "base", "visibility": "public"})
    empty_site.api("POST", "/users", {"name": "bob", "password": PASSWORD})
    empty_site.api("POST", "/projects/base/grants", {"principal": "bob", "role": "developer"})
    return empty_site


@pytest.fixture(scope="module")
def planted(site: Site) -> Planted:
    """What a developer could push."""
    page, config = f"<html>{ATTACK}</html>".encode(), b"{}"
    with closing(site.wire("bob")) as wire:
        for content in (page, config):
            push_blob(wire, "base/evil", content)
        fields = {
            "schemaVersion": 2,
            "artifactType": "text/html",
            "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": "text/html", "digest": digest_of(page), "size": len(page)}],
            "annotations": {"evil": ATTACK},
        }
        raw = json.dumps(fields).encode()
        path = f"/v2/base/evil/manifests/{digest_of(raw)}"
        refused = wire("PUT", path, body=raw, headers={"Content-Type": "text/html"})
        assert (refused.status, refused.code) == (400, "MANIFEST_INVALID")
        assert wire("PUT", path, body=raw, headers={"Content-Type": OCI_MANIFEST}).status == 201
        subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(raw), "size": len(raw)}
        about = json.dumps({**fields, "subject": subject}).encode()
        put = wire(
            "PUT",
            f"/v2/base/evil/manifests/{digest_of(about)}",
            body=about,
            headers={"Content-Type": OCI_MANIFEST},
        )
        assert put.status == 201
    return Planted(
        path,
        f"/v2/base/evil/blobs/{digest_of(page)}",
        f"/v2/base/evil/referrers/{digest_of(raw)}",
    )


@pytest.fixture
def admin(site: Site, planted: Planted) -> Iterator[BrowserContext]:
    """Signed in, and without a memory of earlier answers."""
    context = site.visitor("admin")
    for path in (planted.manifest, planted.blob, planted.referrers):
        answer = context.request.get(path)
        assert answer.status == 200
        assert "ran as" in answer.text()
    yield context
    context.close()


def open_in(page: Page, path: str) -> Response | None:
    """The answer when the browser shows it; None when it saves it as a file, or says that it failed."""
    try:
        return page.goto(path)
    except Error as error:
        if not any(text in error.message for text in ("Download is starting", "net::ERR_")):
            raise
        return None


def asked_of_the_api(page: Page) -> list[str]:
    asked: list[str] = []

    def note(request: Request) -> None:
        if urlsplit(request.url).path.startswith("/api/"):
            asked.append(request.url)

    page.on("request", note)
    return asked


def did_nothing(page: Page, asked: list[str]) -> bool:
    """A script is run while its page is read, which `goto` waits for. Chromium may show its own error."""
    return "ran" not in page.title() and not asked


def kinds(planted: Planted) -> dict[str, str]:
    return {
        "manifest": planted.manifest,
        "blob": planted.blob,
        "referrers": planted.referrers,
        "error": f"/v2/base/evil/manifests/{MISSING}",
        "error that repeats what was asked": f"/v2/base/evil/tags/list?n={ATTACK}",
        "a path that is none": f"/v2/{ATTACK}",
    }


def test_the_attack_works_where_nothing_stops_it(site: Site) -> None:
    """Or the other tests would prove nothing."""
    page = site.visitor("admin").new_page()
    asked = asked_of_the_api(page)
    page.route("**/here", lambda route: route.fulfill(body=ATTACK, content_type="text/html"))
    page.goto("/here")
    expect(page).to_have_title("ran as admin")
    assert asked


def test_nothing_that_was_pushed_is_shown(admin: BrowserContext, planted: Planted) -> None:
    for kind, path in kinds(planted).items():
        page = admin.new_page()
        asked = asked_of_the_api(page)
        assert open_in(page, path) is None, kind
        assert did_nothing(page, asked), kind
        page.close()


def test_a_stored_web_page_is_not_shown_either(admin: BrowserContext, planted: Planted, site: Site) -> None:
    """Whatever type the database may hold."""
    with closing(sqlite3.connect(site.server.data / "catalog.db", timeout=60)) as database, database:
        changed = database.execute("UPDATE manifest SET media_type = 'text/html'")
        assert changed.rowcount == 2
    try:
        page = admin.new_page()
        asked = asked_of_the_api(page)
        answer = admin.request.get(planted.manifest)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert open_in(page, planted.manifest) is None
        assert did_nothing(page, asked)
    finally:
        with closing(sqlite3.connect(site.server.data / "catalog.db", timeout=60)) as database, database:
            database.execute("UPDATE manifest SET media_type = ?", [OCI_MANIFEST])


WITHOUT_ONE = {
    "no attachment": {"content-disposition": None},
    "no attachment, a web page": {"content-disposition": None, "content-type": "text/html"},
    "no attachment, no sandbox": {"content-disposition": None, "content-security-policy": None},
    "no sandbox, a web page": {"content-security-policy": None, "content-type": "text/html"},
}


@pytest.mark.parametrize("taken", WITHOUT_ONE)
def test_each_protection_holds_alone(admin: BrowserContext, planted: Planted, taken: str) -> None:
    def weakened(route: Route) -> None:
        answer = route.fetch()
        headers = dict(answer.headers)
        for name, value in WITHOUT_ONE[taken].items():
            headers.pop(name)
            if value is not None:
                headers[name] = value
        route.fulfill(response=answer, headers=headers)

    for kind, path in kinds(planted).items():
        page = admin.new_page()
        page.route("**/v2/**", weakened)
        asked = asked_of_the_api(page)
        open_in(page, path)
        assert did_nothing(page, asked), kind
        page.close()


def test_pages_and_api_do_not_listen_to_a_pushed_document_that_runs(
    admin: BrowserContext, planted: Planted
) -> None:
    """With scripts let through, a sandboxed document is nobody, and one without a sandbox names itself."""
    for sandbox in ("sandbox allow-scripts", ""):

        def shown(route: Route, policy: str = sandbox) -> None:
            headers = {"content-type": "text/html", "content-security-policy": policy}
            route.fulfill(body="<title>shown</title>", headers=headers)

        page = admin.new_page()
        page.route("**/v2/**", shown)
        page.goto(planted.manifest)
        assert page.title() == "shown"
        for path in ("/api/v1/session", "/account", "/admin/users"):
            with page.expect_response(f"**{path}") as answered:
                page.evaluate(
                    "path => fetch(path, {mode: 'no-cors', credentials: 'include'}).then(() => 0, () => 0)",
                    path,
                )
            assert answered.value.status == 403, (sandbox, path)
        page.close()


def test_pages_load_nothing_that_was_pushed_as_script_or_style(
    admin: BrowserContext, planted: Planted, site: Site
) -> None:
    """Had an attacker a way to put a tag into a page: the page's own rule allows files of its origin."""
    page = admin.new_page()
    page.goto("/sign-in")
    for path in (planted.manifest, planted.blob):
        loaded = page.evaluate(
            """path => new Promise(done => {
                const link = document.createElement('link');
                link.rel = 'stylesheet'; link.href = path;
                link.onload = () => done('loaded'); link.onerror = () => done('refused');
                document.head.append(link);
            })""",
            path,
        )
        assert loaded == "refused"
