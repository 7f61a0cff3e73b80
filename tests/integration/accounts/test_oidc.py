"""Signing in through OpenID Connect, with npm's `oidc-provider` as the provider."""

import http.cookiejar
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest

from tests.integration.accounts.conftest import Registry
from tests.support.oidc import CLIENT_SECRET, oidc_provider


class Browser:
    """Follows redirects by hand and keeps cookies, as a person's browser does."""

    def __init__(self, accept: str = "*/*") -> None:
        self.accept = accept
        self.jar = http.cookiejar.CookieJar()

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_args: object) -> None:
                return None

        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar), Stay)

    def open(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str | None]:
        """(status, body, where it sends us)."""
        body = None if form is None else urlencode(form).encode()
        request = urllib.request.Request(url, data=body, headers={"Accept": self.accept})
        try:
            answer = self._opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            location = answer.headers.get("Location")
            return answer.status, answer.read().decode(), urljoin(url, location) if location else None

    def follow(self, url: str, *, stop_at: str) -> str:
        """Click through until a page without a redirect, or one that begins with `stop_at`."""
        for _ in range(12):
            if url.startswith(stop_at):
                return url
            _status, _body, location = self.open(url)
            if location is None:
                return url
            url = location
        raise AssertionError(f"too many redirects, last to {url}")


@pytest.fixture(scope="module")
def provider(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    redirect = f"{registry.server.url}/api/v1/sign-in/corp/callback"
    with oidc_provider(tmp_path_factory.mktemp("oidc"), redirect) as issuer:
        settings = {
            "issuer": issuer,
            "client_id": "entrepot",
            "title": "Corporate",
            "admin_group": "leads",
            "scopes": "openid profile email",
        }
        source = {"name": "corp", "kind": "oidc", "settings": settings, "secret": CLIENT_SECRET}
        registry.api("POST", "/sources", source)
        yield registry


def sign_in(registry: Registry, browser: Browser, person: str, *, then: str = "/projects") -> str:
    """The whole way: to the provider, its log-in form, its consent form, and back. Where we end."""
    home = registry.server.url
    url = browser.follow(f"{home}/api/v1/sign-in/corp?next={then}", stop_at=f"{home}{then}")
    for _ in range(4):
        if url.startswith(f"{home}{then}"):
            return url
        _status, page, _location = browser.open(url)
        action = re.search(r'action="([^"]+)"', page)
        prompt = re.search(r'name="prompt" value="(\w+)"', page)
        assert action, page
        assert prompt, page
        form = {"prompt": prompt[1]}
        if prompt[1] == "login":
            form |= {"login": person, "password": "any"}
        _status, _page, location = browser.open(urljoin(url, action[1]), form)
        assert location
        url = browser.follow(location, stop_at=f"{home}{then}")
    raise AssertionError(f"did not come back, but to {url}")


def whoami(registry: Registry, browser: Browser) -> dict[str, object]:
    status, body, _location = browser.open(f"{registry.server.url}/api/v1/self")
    return dict(json.loads(body)) if status == 200 else {"name": None}


def test_person_comes_back_signed_in_with_groups(provider: Registry) -> None:
    assert [p["title"] for p in provider.api("GET", "/sign-in/providers", who=None)] == ["Corporate"]
    for person, role in (("wanda", None), ("boss", "admin")):
        browser = Browser()
        sign_in(provider, browser, person)
        me = whoami(provider, browser)
        assert (me["name"], me["source"], me["email"], me["system_role"]) == (
            person,
            "corp",
            f"{person}@example.org",
            role,
        )


def test_second_sign_in_is_the_same_account(provider: Registry) -> None:
    for _ in range(2):
        sign_in(provider, Browser(), "again")
    names = [u["name"] for u in provider.api("GET", "/users?n=1000")["items"]]
    assert names.count("again") == 1


def test_name_of_a_built_in_account_is_not_taken_over(provider: Registry) -> None:
    browser = Browser()
    with pytest.raises(AssertionError):
        sign_in(provider, browser, "olga")
    assert whoami(provider, browser)["name"] is None


def test_answer_for_another_browser_is_refused(provider: Registry) -> None:
    """Log-in CSRF: a code that somebody else's browser fetched signs nobody in."""
    browser = Browser()
    for query in ("code=x&state=y", "code=&state=", "state=x"):
        status, _body, _location = browser.open(f"{provider.server.url}/api/v1/sign-in/corp/callback?{query}")
        assert status == 401
    assert whoami(provider, browser)["name"] is None


CALLBACK = "/api/v1/sign-in/corp/callback"


def left_for_the_provider(registry: Registry, browser: Browser, then: str) -> dict[str, str]:
    """What the provider was asked; the browser has our cookie."""
    begin = f"{registry.server.url}/api/v1/sign-in/corp?{urlencode({'next': then})}"
    status, _body, location = browser.open(begin)
    assert status == 302
    return dict(parse_qsl(urlsplit(location or "").query))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"error": "access_denied"}, "sign-in-cancelled"),
        ({"error": "server_error"}, "invalid-credentials"),
        ({"code": "of-somebody-else"}, "invalid-credentials"),
        ({"code": "x", "state": "of-another-browser"}, "invalid-credentials"),
    ],
    ids=["cancelled", "provider-failed", "refused", "another-browser"],
)
def test_a_sign_in_that_does_not_work_out_keeps_where_the_person_wanted_to_go(
    provider: Registry, answer: dict[str, str], problem: str
) -> None:
    browser = Browser(accept="text/html")
    asked = left_for_the_provider(provider, browser, "/projects/acme/members?sort=name")
    query = urlencode({"state": asked["state"], **answer})
    status, _body, location = browser.open(f"{provider.server.url}{CALLBACK}?{query}")
    wanted = urlencode({"problem": problem, "next": "/projects/acme/members?sort=name"})
    assert (status, location) == (302, f"{provider.server.url}/sign-in?{wanted}")
    _status, page, _location = browser.open(location or "")
    assert '<input type="hidden" name="next" value="/projects/acme/members?sort=name">' in page
    assert 'href="/api/v1/sign-in/corp?next=%2Fprojects%2Facme%2Fmembers%3Fsort%3Dname"' in page


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"]
)
def test_a_refused_sign_in_leads_to_no_other_site(provider: Registry, elsewhere: str) -> None:
    browser = Browser(accept="text/html")
    asked = left_for_the_provider(provider, browser, elsewhere)
    query = urlencode({"state": asked["state"], "error": "access_denied"})
    _status, _body, location = browser.open(f"{provider.server.url}{CALLBACK}?{query}")
    assert location == f"{provider.server.url}/sign-in?problem=sign-in-cancelled"
