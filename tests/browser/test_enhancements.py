"""What JavaScript adds, that nothing needs it, and what other people's text and sites can't do (X1, X2)."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Site, platform_image, put
from tests.support.images import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, digest_of, push_blob, push_image

pytestmark = pytest.mark.timeout(300)
CHUNKED = {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"}
expect.set_options(timeout=60_000)


def test_search_answers_while_typing_and_keys_choose(site: Site) -> None:
    page = site.visitor("admin").new_page()
    page.goto("/")
    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="Search")
    expect(field).to_be_focused()
    field.press_sequentially("sho")
    option = page.get_by_role("option").filter(has_text="acme/shop")
    expect(option).to_be_visible()
    expect(field).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    page.wait_for_url("**/repositories/acme/shop")
    field.fill("no-such-thing")
    expect(page.get_by_text("Nothing fits")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()


@pytest.mark.parametrize(
    ("typed", "kind", "found"),
    [
        ("hop", "repository", "acme/shop"),
        ("shop:v3", "tag", "acme/shop:v3"),
        ("pyth", "label", "python"),
        ("sha256:", "digest", "acme/shop@"),
    ],
)
def test_everything_with_a_name_is_found(site: Site, typed: str, kind: str, found: str) -> None:
    if kind == "digest":
        digest = platform_image(1).digest
        typed, found = digest[:16], f"acme/shop@{digest[7:19]}"
    page = site.visitor("admin").new_page()
    page.goto("/projects")
    page.locator("#q").press_sequentially(typed)
    option = page.get_by_role("option").filter(has_text=kind).filter(has_text=found)
    option.first.click()
    page.wait_for_load_state()
    expect(page.get_by_role("heading", level=1)).to_contain_text("shop" if kind != "label" else "python")


def test_a_push_is_counted_while_it_arrives(site: Site) -> None:
    """docker sends a whole layer in one request, without saying how long it is."""
    page = site.visitor("admin").new_page()
    page.goto("/repositories/acme/shop")
    far = page.locator("[data-far]")
    sent, more = threading.Semaphore(0), threading.Semaphore(0)

    def layer() -> Iterator[bytes]:
        for _ in range(2):
            yield b"x" * 2_000_000
            sent.release()
            more.acquire()

    def push() -> None:
        with closing(site.wire("admin")) as wire:
            begun = wire("POST", "/v2/acme/shop/blobs/uploads/")
            wire("PATCH", begun.headers["location"], body=layer(), headers=CHUNKED, chunked=True)
            wire("DELETE", begun.headers["location"])

    request = threading.Thread(target=push)
    request.start()
    sent.acquire()
    expect(page.get_by_text("admin pushing")).to_be_visible()
    expect(far).to_contain_text(re.compile(r"1 layer, (1\.\d|2\.0) MB so far"))
    more.release()
    expect(far).to_contain_text(re.compile(r"[34]\.\d MB so far"))
    more.release()
    request.join(60)
    expect(page.get_by_text("The push has ended.")).to_be_visible()
    page.get_by_role("link", name="Show what is new").click()
    expect(page.get_by_text("The push has ended.")).to_be_hidden()


def test_command_is_copied(site: Site) -> None:
    context = site.visitor("admin")
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    page = context.new_page()
    page.goto("/repositories/base/python")
    page.get_by_text("podman", exact=True).click()
    page.get_by_role("button", name="Copy the command for podman").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"podman pull {site.server.host}/base/python:3.13"


def test_chosen_tags_are_deleted_and_brought_back(site: Site) -> None:
    fill(site, "base/choose")
    page = site.visitor("admin").new_page()
    page.goto("/repositories/base/choose")
    delete = page.get_by_role("button", name="Delete chosen tags")
    expect(delete).to_be_disabled()
    page.get_by_label("Choose all").check()
    expect(page.get_by_text("3 chosen")).to_be_visible()
    page.get_by_label("Choose c", exact=True).uncheck()
    delete.click()
    expect(page.get_by_role("status").filter(has_text="2 tags are deleted.")).to_be_visible()
    expect(rows(page)).to_have_text(["c"])
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status").filter(has_text="2 tags are back.")).to_be_visible()
    expect(rows(page)).to_have_count(3)


def test_all_of_it_works_without_javascript(site: Site) -> None:
    fill(site, "base/plain")
    page = site.visitor(java_script_enabled=False).new_page()
    page.goto("/account/tokens")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="New token")).to_be_visible()
    page.get_by_label("Search").fill("plain")
    page.get_by_label("Search").press("Enter")
    page.get_by_role("main").get_by_role("link", name="base/plain").click()
    page.get_by_label("Choose a", exact=True).check()
    page.get_by_role("button", name="Delete chosen tags").click()
    expect(page.get_by_text("Tag a is deleted.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("1 tag is back.")).to_be_visible()
    page.get_by_text("Kubernetes", exact=True).click()
    expect(page.get_by_text("containers:")).to_be_visible()


def fill(site: Site, repository: str) -> None:
    with closing(site.wire("admin")) as wire:
        for tag in "abc":
            push_image(wire, repository, tag, platform_image(1))


def rows(page: Page) -> Locator:
    return page.locator("table.tags tbody a.name")


def test_pages_do_not_shift_while_they_load(site: Site) -> None:
    page = site.visitor("admin").new_page()
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => { for (const entry of list.getEntries())"
        " window.shift += entry.value }).observe({type: 'layout-shift', buffered: true})"
    )
    for path in ("/", "/repositories/acme/shop", "/repositories/acme/shop/-/tags/latest"):
        page.goto(path, wait_until="load")
        assert page.evaluate("window.shift") < 0.1, path


EVIL = '"><script>window.pwned=1</script><img src=x onerror="window.pwned=1"><svg onload="window.pwned=1">'


def test_words_of_an_image_run_nothing_and_load_nothing(site: Site) -> None:
    layer, config = (
        b"layer",
        json.dumps(
            {
                "os": "linux",
                "architecture": EVIL,
                "config": {"Labels": {EVIL: EVIL}, "Env": [EVIL], "Entrypoint": [EVIL]},
                "history": [{"created_by": EVIL}],
            }
        ).encode(),
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": OCI_LAYER_GZIP, "digest": digest_of(layer), "size": len(layer)}],
        "annotations": {EVIL: EVIL},
    }
    with closing(site.wire("admin")) as wire:
        for data in (layer, config):
            push_blob(wire, "base/evil", data)
        put(wire, "base/evil", "v1", json.dumps(manifest).encode(), OCI_MANIFEST)
    readme = EVIL + "\n\n![x](https://evil.example/x.png)\n\n[x](javascript:window.pwned=1)"
    site.api("PATCH", "/repositories/base%2Fevil", {"description": EVIL, "readme": readme})
    page = site.visitor("admin").new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    for path in ("/", "/repositories/base/evil", "/repositories/base/evil/-/tags/v1", "/search?q=evil"):
        page.goto(path)
        assert page.evaluate("window.pwned") is None, path
    page.locator("#q").press_sequentially("evil")
    expect(page.get_by_role("option").first).to_be_visible()
    assert page.evaluate("window.pwned") is None
    assert all(url.startswith(site.url + "/") for url in asked), asked


@pytest.fixture
def other_site() -> Iterator[HTTPServer]:
    """A page of somebody else, on another origin of this machine."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.server.page.encode()  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_another_site_can_neither_send_nor_frame(site: Site, other_site: HTTPServer) -> None:
    page = site.visitor("admin").new_page()
    page.goto("/projects/base/settings")
    token = page.locator("input[name=_csrf]").first.get_attribute("value")
    other_site.page = (  # type: ignore[attr-defined]
        f'<form method=post action="{site.url}/projects/base/delete">'
        f'<input name=name value=base><input name=_csrf value="{token}"><button>go</button></form>'
        f'<iframe src="{site.url}/projects/base/settings"></iframe>'
    )
    page.goto(f"http://127.0.0.1:{other_site.server_port}/")
    frame = page.frames[1]
    assert frame.locator("form").count() == 0
    with page.expect_navigation() as sent:
        page.get_by_role("button", name="go").click()
    assert sent.value is not None
    assert sent.value.status in {401, 403}
    assert site.api("GET", "/projects/base")["name"] == "base"
