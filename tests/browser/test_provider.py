"""Signing in with a click, at a real OpenID Connect provider; and what a refusal looks like."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, keep, violations
from tests.support.oidc import CLIENT_SECRET, oidc_provider

pytestmark = pytest.mark.timeout(300)
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def corporate(empty_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The admin has added a provider on the page of sign-in sources."""
    empty_site.become_admin()
    redirect = f"{empty_site.url}/api/v1/sign-in/corp/callback"
    with oidc_provider(tmp_path_factory.mktemp("oidc"), redirect) as issuer:
        page = empty_site.visitor("admin").new_page()
        page.goto("/admin/sources")
        page.get_by_label("Name", exact=True).fill("corp")
        page.get_by_label("Secret").fill(CLIENT_SECRET)
        for label, text in (
            ("Issuer", issuer),
            ("Client ID", "entrepot"),
            ("Name on the button", "Corporate"),
            ("Only these groups", "leads"),
            ("Group of admins", "leads"),
        ):
            page.get_by_role("textbox", name=label).fill(text)
        page.get_by_role("button", name="Add source").click()
        expect(page.get_by_role("table")).to_contain_text("corp")
        yield empty_site


def sign_in(site: Site, person: str) -> Page:
    """Click the button, log in at the provider, agree there."""
    page = site.visitor().new_page()
    page.goto("/account")
    page.get_by_role("link", name="Sign in with Corporate").click()
    page.wait_for_url("**/interaction/**")
    page.locator("input[name=login]").fill(person)
    page.locator("input[name=password]").fill("any")
    page.locator("[type=submit]").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{site.url}/**")
    return page


def test_a_person_of_the_right_group_comes_back_to_the_page_they_asked_for(corporate: Site) -> None:
    page = sign_in(corporate, "boss")
    assert page.url == f"{corporate.url}/account"
    expect(page.get_by_role("heading", name="boss")).to_be_visible()
    expect(page.get_by_text("Your password is kept at corp")).to_be_visible()
    page.get_by_role("link", name="Admin", exact=True).click()
    expect(page.get_by_role("heading", name="Nodes")).to_be_visible()


def test_a_person_who_may_not_in_reads_why_and_can_go_on(corporate: Site, axe: str) -> None:
    page = sign_in(corporate, "wanda")
    expect(page.get_by_role("alert")).to_contain_text("group")
    keep(page, "provider-refuses")
    assert not violations(page, axe)
    expect(page.get_by_role("link", name="Sign in with Corporate")).to_be_visible()
    page.goto("/account")
    page.wait_for_url("**/sign-in?next=%2Faccount")


def test_a_person_who_turns_back_at_the_provider_keeps_the_page_they_asked_for(corporate: Site) -> None:
    page = corporate.visitor().new_page()
    page.goto("/account/tokens")
    page.get_by_role("link", name="Sign in with Corporate").click()
    page.wait_for_url("**/interaction/**")
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_url("**/sign-in?problem=sign-in-cancelled&next=%2Faccount%2Ftokens")
    expect(page.get_by_role("alert")).to_contain_text("You turned back at the provider")
    keep(page, "provider-cancelled")
    assert page.locator("input[name=next]").input_value() == "/account/tokens"


def test_a_provider_that_is_away_is_told_in_words(corporate: Site) -> None:
    settings = {"issuer": "http://localhost:9", "client_id": "x", "title": "Away"}
    corporate.api("POST", "/sources", {"name": "away", "kind": "oidc", "settings": settings, "secret": "s"})
    page = corporate.visitor().new_page()
    page.goto("/sign-in")
    page.get_by_role("link", name="Sign in with Away").click()
    expect(page.get_by_role("alert")).to_contain_text("could not be reached")
