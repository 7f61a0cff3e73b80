"""From nothing to: my team's CI pushes, my cluster pulls, nobody else can. In the browser alone; docker and
skopeo do the pushing and pulling.
"""

import re
import subprocess

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import PASSWORD, Site, keep
from tests.support.dockerd import Docker
from tests.support.images import layer_tar
from tests.support.programs import require_program
from tests.support.server import clean_env

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]
expect.set_options(timeout=60_000)


def choose_password(page: Page) -> None:
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Confirm password").fill(PASSWORD)
    page.get_by_role("button", name="Save and sign in").click()
    expect(page.get_by_role("status")).to_contain_text("Welcome")


def make_user(admin: Page, site: Site, name: str) -> BrowserContext:
    """The admin makes an account; its owner chooses a password with the link, in a browser of their own."""
    admin.goto("/admin/users")
    admin.get_by_label("User name", exact=True).last.fill(name)
    admin.get_by_role("button", name="Create user").click()
    link = admin.locator(".secret code").inner_text()
    own = site.visitor()
    page = own.new_page()
    page.goto(link)
    choose_password(page)
    return own


def make_robot(page: Page, name: str, role: str) -> str:
    """Its secret, as the page shows it this once."""
    page.goto("/projects/acme")
    page.get_by_role("link", name="Robots", exact=True).click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Role", exact=True).select_option(role)
    page.get_by_role("button", name="Create robot").click()
    secret = page.locator(".secret code").first.inner_text()
    assert re.fullmatch(r"ent_rob_\w+", secret)
    return secret


def skopeo(*args: str) -> "subprocess.CompletedProcess[str]":
    argv = [require_program("skopeo"), *args]
    return subprocess.run(argv, env=clean_env(), capture_output=True, text=True, check=False, timeout=240)


def test_from_nothing_to_a_team_that_ships(empty_site: Site, dockerd: Docker) -> None:
    site, host = empty_site, empty_site.server.host
    admin = site.visitor().new_page()

    # The first admin, by the link that `serve` printed.
    admin.goto(site.setup_link)
    keep(admin, "walk-1-setup")
    choose_password(admin)
    keep(admin, "walk-2-nothing-yet")

    # A project, a colleague in it, a robot that pushes and one that pulls.
    admin.get_by_role("link", name="Create a project").click()
    admin.get_by_label("Name", exact=True).fill("acme")
    admin.get_by_role("button", name="Create project").click()
    expect(admin.get_by_role("heading", name="acme")).to_be_visible()
    keep(admin, "walk-3-project")
    alice, stranger = make_user(admin, site, "alice"), make_user(admin, site, "stranger")
    admin.goto("/projects/acme/members")
    admin.get_by_label("Name", exact=True).fill("alice")
    admin.get_by_label("Role", exact=True).select_option("maintainer")
    admin.get_by_role("button", name="Give role").click()
    expect(admin.get_by_role("status")).to_contain_text("alice is maintainer now")
    member = alice.new_page()
    pushing = make_robot(member, "ci", "developer")
    keep(member, "walk-4-robot")
    pulling = make_robot(member, "cluster", "puller")

    # CI pushes with docker.
    dockerd.run("login", host, "-u", "acme+ci", "--password-stdin", stdin=pushing.encode())
    name = f"{host}/acme/shop:v1"
    dockerd.run("import", "-", name, stdin=layer_tar({"app/main": b"the shop\n" * 100}))
    dockerd.run("push", name)

    # The cluster pulls, and can't push; nobody else can do either.
    source, no_tls = f"docker://{name}", "--tls-verify=false"
    creds = f"acme+cluster:{pulling}"
    assert skopeo("inspect", no_tls, f"--creds={creds}", source).returncode == 0
    to = f"docker://{host}/acme/shop:v2"
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    refused = skopeo("copy", *plain, f"--src-creds={creds}", f"--dest-creds={creds}", source, to)
    assert refused.returncode != 0
    assert skopeo("inspect", no_tls, "--no-creds", source).returncode != 0
    assert skopeo("inspect", no_tls, f"--creds=stranger:{PASSWORD}", source).returncode != 0

    # Everybody sees in the browser what they may.
    member.goto("/")
    member.get_by_role("main").get_by_role("link", name="acme/shop", exact=True).click()
    expect(member.locator("table.tags tbody")).to_contain_text("v1")
    keep(member, "walk-5-repository")
    member.get_by_role("link", name="v1", exact=True).first.click()
    expect(member.get_by_role("heading", name="Layers")).to_be_visible()
    keep(member, "walk-6-image")
    outsider = stranger.new_page()
    outsider.goto("/")
    expect(outsider.get_by_text("Nothing here yet")).to_be_visible()
    assert outsider.goto("/repositories/acme/shop").status == 403  # type: ignore[union-attr]
    keep(outsider, "walk-7-not-for-you")
    admin.goto("/admin/audit?action=create-tag")
    expect(admin.locator("table.audit tbody")).to_contain_text("acme+ci")
    keep(admin, "walk-8-audit")

    # CI is let go: its secret works no more.
    member.goto("/projects/acme/robots/acme+ci")
    member.get_by_label("Type acme+ci").fill("acme+ci")
    member.get_by_role("button", name="Delete acme+ci").click()
    expect(member.get_by_role("status")).to_contain_text("acme+ci is gone")
    assert dockerd.run("push", name, check=False).returncode != 0
