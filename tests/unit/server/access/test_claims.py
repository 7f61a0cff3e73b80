"""Claims of tokens that other issuers signed: whatever they hold, the answer is yes or InvalidCredentials."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.access.decision.errors import InvalidCredentials
from entrepot.server.access.sign_in.sources.claims import check_claims, check_nonce, groups_of, text_of

ISSUER, OURS, NOW = "https://id.example.org", "entrepot", 1_700_000_000.0
GOOD: dict[str, Any] = {"iss": ISSUER, "aud": OURS, "sub": "u1", "exp": NOW + 60, "iat": NOW}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just("\ud800\0é"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def check(*, of_a_person: bool = True, **changed: Any) -> None:
    check_claims({**GOOD, **changed}, issuer=ISSUER, audience=OURS, now=NOW, of_a_person=of_a_person)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"aud": [OURS]},
        {"aud": [OURS, "other"], "azp": OURS},
        {"azp": OURS},
        {"exp": NOW - 30},
        {"nbf": None, "iat": None},
    ],
    ids=str,
)
def test_a_token_for_us_is_taken(changed: dict[str, Any]) -> None:
    check(**changed)


@pytest.mark.parametrize("of_a_person", [True, False])
@pytest.mark.parametrize(
    "changed",
    [
        {"aud": [OURS, "other"]},
        {"aud": [OURS, "other"], "azp": "other"},
        {"aud": [OURS, "other"], "azp": [OURS]},
        {"aud": [OURS, "other"], "azp": {"a": 1}},
        {"aud": {OURS: 1}},
        {"aud": []},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": True},
        {"exp": str(NOW + 60)},
        {"nbf": NOW + 600},
        {"iat": "x"},
        {"sub": ["u1"]},
        {"sub": "u\ud800"},
        {"sub": "u\0"},
        {"sub": ""},
        {"sub": "u" * 256},
        {"iss": [ISSUER]},
    ],
    ids=str,
)
def test_a_token_for_several_parties_or_with_odd_values_is_refused(
    changed: dict[str, Any], of_a_person: bool
) -> None:
    with pytest.raises(InvalidCredentials):
        check(of_a_person=of_a_person, **changed)


def test_only_an_id_tokens_azp_must_be_ours_when_it_is_for_us_alone() -> None:
    check(of_a_person=False, azp="110169484474386276334")
    for party in ("other", [OURS], 1):
        with pytest.raises(InvalidCredentials):
            check(azp=party)


@pytest.mark.parametrize("nonce", [None, "", "é", "\ud800", ["nonce"], {"nonce": 1}, 5, "Nonce"])
def test_an_odd_nonce_is_refused(nonce: Any) -> None:
    with pytest.raises(InvalidCredentials):
        check_nonce({"nonce": nonce}, "nonce")
    check_nonce({"nonce": "nonce"}, "nonce")


@given(
    st.dictionaries(st.sampled_from(["iss", "aud", "sub", "azp", "exp", "nbf", "iat", "nonce"]), anything),
    st.booleans(),
)
def test_no_claim_makes_another_error(changed: dict[str, Any], of_a_person: bool) -> None:
    with suppress(InvalidCredentials):
        check(of_a_person=of_a_person, **changed)
    with suppress(InvalidCredentials):
        check_nonce(changed, "nonce")


@given(anything)
def test_text_and_groups_fit_a_column(value: Any) -> None:
    texts = (text_of(value), *(groups_of(value) or ()))
    assert all("\0" not in text and text.encode() is not None for text in texts)
