"""What was typed, and what is said about it."""

from urllib.parse import urlencode

import pytest

from entrepot.server.access.decision.errors import AlreadyExists, InvalidName
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.pages.kit.form_body import parse_form
from entrepot.server.pages.kit.form_key import FormRefused, check_form, form_key, form_token, new_form_key
from entrepot.server.pages.kit.forms import PageForm

NOW = 1_700_000_000_000_000


def form(**values: str) -> PageForm:
    return PageForm(parse_form(urlencode(values).encode()))


def test_what_was_typed_is_kept_beside_the_complaint() -> None:
    sent = form(name=" A b ")
    assert sent.text("name") == "A b"
    sent.blame(InvalidName("user name 'A b' is not valid", hint="use letters"), {InvalidName: "name"})
    assert sent["name"] == " A b "
    assert sent.errors == {"name": "User name 'A b' is not valid. Use letters."}
    assert not sent.is_good


def test_what_can_not_be_done_now_is_no_fields_fault() -> None:
    sent = form(name="a")
    held = CatalogUnavailable("somebody else holds back changes", retry_after_s=2)
    sent.blame(held, "name")
    assert (sent.unavailable, sent.errors) == (held, {})
    assert sent.problem == "Somebody else holds back changes."


def test_nul_is_not_typed() -> None:
    assert form(name="a\0b")["name"] == "ab"


def test_refusal_about_no_field_stands_above_the_form() -> None:
    sent = form(name="a")
    sent.blame(AlreadyExists("the same grant is there already"))
    assert sent.problem == "The same grant is there already."


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("500", 500), ("500 MB", 500_000_000), ("1.5gb", 1_500_000_000), ("2 GiB", 2**31)],
)
def test_size_is_read_with_its_unit(text: str, value: int | None) -> None:
    sent = form(quota=text)
    assert sent.size("quota") == value
    assert sent.is_good


@pytest.mark.parametrize("text", ["-1", "many", "5 apples", "1e400", "nan", "GB", "99999999999 TB"])
def test_size_that_is_none_is_refused(text: str) -> None:
    sent = form(quota=text)
    assert sent.size("quota") is None
    assert "quota" in sent.errors


def test_expiry_is_the_end_of_a_day_to_come() -> None:
    assert form(until="2023-11-14").expiry("until", now=NOW) == 1_700_006_400_000_000
    assert form(until="").expiry("until", now=NOW) is None
    for text in ("2023-11-13", "14.11.2023", "never"):
        sent = form(until=text)
        sent.expiry("until", now=NOW)
        assert "until" in sent.errors


def test_choice_is_one_that_was_offered() -> None:
    sent = form(role="king")
    assert sent.choice("role", ("viewer", "owner")) == "viewer"
    assert "role" in sent.errors


OWN = "https://registry.example"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "http://registry.example"},
        {"origin": "https://registry.example:8443"},
        {"origin": OWN, "sec-fetch-site": "cross-site"},
        {"origin": OWN, "sec-fetch-site": "same-site"},
    ],
)
def test_form_from_elsewhere_is_refused(headers: dict[str, str]) -> None:
    key = new_form_key()
    with pytest.raises(FormRefused):
        check_form(headers, base_url=OWN, key=key, token=form_token(key))


def test_form_needs_the_token_of_its_own_key() -> None:
    key, other = new_form_key(), new_form_key()
    check_form({"origin": OWN}, base_url=OWN, key=key, token=form_token(key))
    for given_key, token in ((key, form_token(other)), (None, form_token(key)), (key, None), (key, "")):
        with pytest.raises(FormRefused):
            check_form({"origin": OWN}, base_url=OWN, key=given_key, token=token)


def test_form_cookie_of_somebody_elses_making_is_none() -> None:
    assert form_key({"entrepot-form": "short"}, "http") is None
    key = new_form_key()
    assert form_key({"entrepot-form": key}, "http") == key
    assert form_key({"entrepot-form": key}, "https") is None
