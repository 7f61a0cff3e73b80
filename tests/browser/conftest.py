"""A real Chromium and a real registry with accounts, one each a module; nothing waits for time."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from tests.integration.accounts.setup import setup_token
from tests.support.images import (
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
    digest_of,
    image,
    index,
    push_blob,
    push_image,
)
from tests.support.programs import missing, require_program
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = ROOT / "artefacts" / "pages"
PASSWORD = "correct horse battery"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
PATIENCE_MS = 60_000
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 760}


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Debian's Chromium."""
    program = require_program("chromium")
    started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, timeout=PATIENCE_MS)
    yield started
    started.close()


@dataclass
class Site:
    """A registry with accounts, and whoever visits it."""

    server: RunningServer
    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def setup_link(self) -> str:
        """As `serve` prints it at first start."""
        return f"{self.url}/setup?token={setup_token(self.server.log)}"

    def visitor(self, name: str | None = None, **options: Any) -> BrowserContext:
        """A browser of its own, signed in as `name`."""
        context = self.browser.new_context(base_url=self.url, **{"viewport": DESKTOP, **options})
        context.set_default_timeout(PATIENCE_MS)
        if name is not None:
            cookie = {"name": "entrepot-session", "value": self._session(name), "url": self.url}
            context.add_cookies([cookie])  # type: ignore[list-item]
        self.contexts.append(context)
        return context

    def _session(self, name: str) -> str:
        if name not in self.sessions:
            with httpx.Client(base_url=self.url, timeout=60) as client:
                answer = client.post("/api/v1/session", json={"name": name, "password": PASSWORD})
                assert answer.status_code == 200, answer.text
                self.sessions[name] = client.cookies["entrepot-session"]
        return self.sessions[name]

    def wire(self, name: str, secret: str = PASSWORD) -> Wire:
        """The registry API as somebody."""
        credentials = base64.b64encode(f"{name}:{secret}".encode()).decode()
        headers = {"Host": self.server.host, "Authorization": f"Basic {credentials}"}
        return Wire(self.server.port, headers=headers)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """The management API as the admin."""
        answer = httpx.request(
            method, f"{self.url}/api/v1{path}", json=body, auth=("admin", PASSWORD), timeout=60
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def become_admin(self) -> None:
        """Use the set-up link up without a browser."""
        body = {"token": setup_token(self.server.log), "password": PASSWORD}
        answer = httpx.post(f"{self.url}/api/v1/setup", json=body, timeout=60)
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def empty_site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Just started for the first time."""
    folder = tmp_path_factory.mktemp("site")
    with running_server(folder, env={"ENTREPOT_ACCESS_MODE": "accounts"}, workers=1) as server:
        site = Site(server, browser)
        yield site
        for context in site.contexts:
            context.close()


@pytest.fixture(scope="module")
def site(empty_site: Site) -> Site:
    """With an admin, people, projects, a robot, images and their history."""
    empty_site.become_admin()
    api = empty_site.api
    for name, visibility in (("acme", "private"), ("base", "public")):
        api("POST", "/projects", {"name": name, "visibility": visibility, "quota_bytes": 20_000_000_000})
    for name in ("alice", "bob", LONG_USER):
        api("POST", "/users", {"name": name, "password": PASSWORD, "display_name": name.title()})
    api("POST", "/teams", {"name": "developers", "description": "Everyone who writes code"})
    api("PUT", "/teams/developers/members/alice")
    api("POST", "/projects/acme/grants", {"principal": "alice", "role": "maintainer"})
    api("POST", "/projects/acme/grants", {"team": "developers", "role": "developer"})
    api("POST", "/projects/acme/robots", {"name": "ci", "role": "developer"})
    api("POST", "/roles", {"name": "releaser", "actions": ["pull", "push", "create-tag"]})
    push_demo(empty_site)
    api(
        "PATCH",
        "/repositories/acme%2Fshop",
        {"description": "The shop", "labels": ["python"], "readme": "# Shop\n\nRun it: `docker run`.\n"},
    )
    return empty_site


def platform_image(number: int, architecture: str = "amd64") -> Image:
    """Three layers, the lowest the same in all."""
    layers = [{"base": b"b" * 400}, {"lib": architecture.encode() * 90}, {"app": f"v{number}".encode() * 20}]
    config = {"Env": ["PATH=/usr/bin", f"VERSION={number}"], "Entrypoint": ["/app"], "Labels": {"a.b": "c"}}
    return image(layers, architecture=architecture, config=config)


LONG_TAG = "feature-" + "a-very-long-name-of-a-branch-" * 4 + "end"
LONG_USER = "somebody-" + "x" * 90
LONG_REPOSITORY = ("acme/" + "pipelines/feature-extraction/nearest-neighbour-search/" * 4)[:199] + "x"


def push_demo(site: Site) -> None:
    """`acme/shop` with tags, indexes, a referrer and a deleted tag; `base/python`; the longest names."""
    with closing(site.wire("admin")) as wire:
        for number in (1, 2, 3):
            push_image(wire, "acme/shop", f"v{number}", platform_image(number))
        push_image(wire, "base/python", "3.13", platform_image(1))
        kinds = [
            (platform_image(9, name), {"os": "linux", "architecture": name}) for name in ("amd64", "arm64")
        ]
        for made, platform in kinds:
            push_image(wire, "acme/shop", f"only-{platform['architecture']}", made)
        put(wire, "acme/shop", "latest", index(kinds), OCI_INDEX)
        put(wire, "acme/shop", LONG_TAG, kinds[0][0].manifest, OCI_MANIFEST)
        push_image(wire, LONG_REPOSITORY, LONG_TAG, kinds[0][0])
        many = [(kinds[n % 2][0], {"os": f"os{n}", "architecture": "amd64"}) for n in range(60)]
        put(wire, "acme/shop", "everywhere", index(many), OCI_INDEX)
        empty = b"{}"
        push_blob(wire, "acme/shop", empty)
        subject = kinds[0][0]
        sbom = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/spdx+json",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": digest_of(empty),
                "size": 2,
            },
            "layers": [],
            "subject": {
                "mediaType": OCI_MANIFEST,
                "digest": subject.digest,
                "size": len(subject.manifest),
            },
            "annotations": {"made.by": "a test"},
        }
        raw = json.dumps(sbom).encode()
        put(wire, "acme/shop", digest_of(raw), raw, OCI_MANIFEST)
        assert wire("DELETE", "/v2/acme/shop/manifests/v2").status == 202


def put(wire: Wire, repository: str, reference: str, raw: bytes, media_type: str) -> None:
    path = f"/v2/{repository}/manifests/{reference}"
    done = wire("PUT", path, body=raw, headers={"Content-Type": media_type})
    assert done.status == 201, done


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core, the checker of accessibility."""
    modules = Path(os.environ.get("ENTREPOT_NODE") or ROOT / ".cache" / "node")
    script = modules / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        missing("axe-core")
    return script.read_text()


def violations(page: Page, axe: str, *rules: str) -> list[str]:
    """What axe-core has against the page; with `rules`, only these are asked."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    only = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    found = page.evaluate("options => axe.run(document, {resultTypes: ['violations'], ...options})", only)
    return [
        f"{page.url}: {each['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for each in found["violations"]
        for node in each["nodes"][:3]
    ]


def keep(page: Page, name: str) -> None:
    """A screenshot among the build's artefacts."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)
