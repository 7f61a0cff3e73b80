"""Secrets: shape, checksum, and that they do not show themselves."""

from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.access.secrets.secret import new_secret, parse_secret


def test_secret_round_trips_and_is_found_by_its_id() -> None:
    secret = new_secret("pat")
    parsed = parse_secret(secret.text)
    assert parsed is not None
    assert (parsed.kind, parsed.public_id) == ("pat", secret.public_id)
    assert parsed.matches(secret.hash)
    assert not parsed.matches(new_secret("pat").hash)


def test_secret_hides_in_a_repr() -> None:
    secret = new_secret("rob")
    assert str(secret.text) not in repr(secret)


def test_one_mistyped_character_is_noticed() -> None:
    text = str(new_secret("pat").text)
    for position in range(8, len(text)):
        other = "a" if text[position] != "a" else "b"
        assert parse_secret(text[:position] + other + text[position + 1 :]) is None


@given(st.text(max_size=100))
def test_other_text_is_no_secret(text: str) -> None:
    assert parse_secret(text) is None
