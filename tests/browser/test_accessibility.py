"""No page has anything that axe-core objects to: light and dark, desktop and phone. Nor does one overflow."""

from typing import Any

import pytest
from playwright.sync_api import Page

from entrepot.server.pages.app import PAGES
from tests.browser.conftest import DESKTOP, LONG_REPOSITORY, LONG_TAG, LONG_USER, PHONE, Site, violations

pytestmark = pytest.mark.timeout(600)

# What stands for the parameters of each page, or for what it asks; a page with none of it is its own path.
SAMPLES: dict[str, list[str]] = {
    "/": ["/", "/?label=none", "/?starred=yes"],
    "/search": ["/search?q=shop", "/search?q=nothing-at-all"],
    "/projects/{project:str}": ["/projects/acme", "/projects/base?filter=none"],
    "/projects/{project:str}/activity": ["/projects/acme/activity"],
    "/projects/{project:str}/policy": ["/projects/acme/policy"],
    "/projects/{project:str}/members": ["/projects/acme/members"],
    "/projects/{project:str}/robots": ["/projects/acme/robots", "/projects/base/robots"],
    "/projects/{project:str}/robots/{robot:str}": ["/projects/acme/robots/acme+ci"],
    "/projects/{project:str}/settings": ["/projects/acme/settings"],
    "/repositories/{repository:str}": ["/repositories/acme/shop", "/repositories/acme/shop?filter=none"],
    "/repositories/{repository:str}/-/activity": ["/repositories/acme/shop/-/activity"],
    "/repositories/{repository:str}/-/compare": [
        "/repositories/acme/shop/-/compare?from=v1&to=v3",
        "/repositories/acme/shop/-/compare?from=v1&to=none",
    ],
    "/repositories/{repository:str}/-/manifests/{digest:str}": [],
    "/repositories/{repository:str}/-/settings": ["/repositories/acme/shop/-/settings"],
    "/repositories/{repository:str}/-/tags/{tag:str}": [
        "/repositories/acme/shop/-/tags/latest",
        "/repositories/acme/shop/-/tags/v1",
        f"/repositories/{LONG_REPOSITORY}/-/tags/{LONG_TAG}",
        "/repositories/acme/shop/-/tags/everywhere",
    ],
    "/repositories/{repository:str}/-/tags/{tag:str}/files": ["/repositories/acme/shop/-/tags/latest/files"],
    "/repositories/{repository:str}/-/manifests/{digest:str}/files": [],
    "/repositories/{repository:str}/-/manifests/{digest:str}/raw": [],
    "/repositories/{repository:str}/-/manifests/{digest:str}/tar": [],
    "/repositories/{repository:str}/-/tags/{tag:str}/history": ["/repositories/acme/shop/-/tags/v2/history"],
    "/repositories/{repository:str}/-/uploads.json": [],
    "/search.json": [],
    "/admin/audit.csv": [],
    "/admin/audit.jsonl": [],
    "/admin/audit": ["/admin/audit", "/admin/audit?who=nobody"],
    "/admin/explain": ["/admin/explain?user=bob&action=pull&on=acme/shop", "/admin/explain?user=none&on="],
    "/admin/roles/{role:str}": ["/admin/roles/releaser"],
    "/admin/teams/{team:str}": ["/admin/teams/developers"],
    "/admin/users/{user:str}": ["/admin/users/alice", f"/admin/users/{LONG_USER}"],
    "/sign-in": [],
    "/setup": [],
}
OUTSIDE = ["/sign-in", "/setup?token=wrong", "/", "/nowhere/at/all", "/repositories/base/python"]


def addresses() -> list[str]:
    """Every page of the site; a new one with parameters needs its line above."""
    found = ["/nowhere", "/projects/absent"]
    for handler in PAGES:
        path = min(handler.paths)
        if "GET" in handler.http_methods:
            assert "{" not in path or path in SAMPLES, f"say in SAMPLES what stands for {path}"
            found += SAMPLES.get(path, [path])
    return found


COLOURS = ("color-contrast", "link-in-text-block")
WIDTHS = ("scrollable-region-focusable", "target-size", "color-contrast")
"""Rules whose answer depends on colours, or on the width; the others are asked once."""


def look(page: Page, path: str, axe: str) -> list[str]:
    problems = []
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="light")
    page.goto(path)
    problems += violations(page, axe)
    page.emulate_media(color_scheme="dark")
    problems += violations(page, axe, *COLOURS)
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="light")
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wider > 0:
        problems.append(f"{path}: {wider} px wider than a phone")
    return problems + violations(page, axe, *WIDTHS)


def test_nothing_to_object_to(site: Site, axe: str) -> None:
    problems: list[str] = []

    def note_script(error: Any) -> None:
        problems.append(f"script: {error}")

    def note_policy(message: Any) -> None:
        if "Content Security Policy" in message.text:
            problems.append(f"console: {message.text}")

    for who, paths in (("admin", addresses()), (None, OUTSIDE)):
        page = site.visitor(who, reduced_motion="reduce").new_page()
        page.on("pageerror", note_script)
        page.on("console", note_policy)
        for path in paths:
            problems += look(page, path, axe)
    assert not problems, "\n".join(problems)


def test_forms_with_mistakes_and_secrets_too(site: Site, axe: str) -> None:
    page = site.visitor("admin", reduced_motion="reduce").new_page()
    for path, fields, button in (
        ("/new-project", {"name": "Not A Name"}, "Create project"),
        ("/projects/acme/robots", {"name": "deploy"}, "Create robot"),
        ("/account/tokens", {"name": "laptop"}, "Create token"),
        ("/admin/users", {"name": "carol"}, "Create user"),
    ):
        page.goto(path)
        for name, value in fields.items():
            page.locator(f"main input[name={name}]").fill(value)
        page.get_by_role("button", name=button).click()
        page.wait_for_load_state()
        assert not violations(page, axe)
        page.emulate_media(color_scheme="dark")
        assert not violations(page, axe, "color-contrast")
        page.emulate_media(color_scheme="light")
