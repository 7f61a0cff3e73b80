import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.client.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="Registry"', [Challenge("basic", {"realm": "Registry"})]),
        (
            'Bearer realm="https://a.example/token",service="a.example",scope="repository:x/y:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://a.example/token",
                        "service": "a.example",
                        "scope": "repository:x/y:pull,push",
                    },
                )
            ],
        ),
        (
            "bEaReR realm=https://a/t , error=invalid_token",
            [Challenge("bearer", {"realm": "https://a/t", "error": "invalid_token"})],
        ),
        (
            'Basic realm="a, b", Bearer realm="c"',
            [Challenge("basic", {"realm": "a, b"}), Challenge("bearer", {"realm": "c"})],
        ),
        ("Negotiate, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        ('Basic realm="with \\"quotes\\" and \\\\"', [Challenge("basic", {"realm": 'with "quotes" and \\'})]),
        ('Basic realm = "spaces"', [Challenge("basic", {"realm": "spaces"})]),
        ('Bearer realm="first",realm="second"', [Challenge("bearer", {"realm": "first"})]),
        ("Basic", [Challenge("basic")]),
        ("", []),
        (',,="x"', []),
    ],
)
def test_challenges_are_read_as_registries_write_them(header: str, expected: list[Challenge]) -> None:
    assert list(parse_challenges([header])) == expected


def test_several_header_lines_are_several_challenges() -> None:
    found = parse_challenges(['Bearer realm="a"', "Basic realm=b"])
    assert [one.scheme for one in found] == ["bearer", "basic"]


def test_scopes_are_parted_by_spaces() -> None:
    (found,) = parse_challenges(['Bearer realm="r",scope="repository:a:pull repository:b:pull,push"'])
    assert found.scopes == ("repository:a:pull", "repository:b:pull,push")


@given(st.text(max_size=200))
def test_no_header_breaks_the_parser(header: str) -> None:
    parse_challenges([header])


QUOTABLE = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]))


@given(st.dictionaries(st.sampled_from(["realm", "service", "scope"]), QUOTABLE))
def test_what_is_quoted_comes_back(parameters: dict[str, str]) -> None:
    escaped = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in parameters.items()}
    header = "Bearer " + ", ".join(f'{key}="{value}"' for key, value in escaped.items())
    assert list(parse_challenges([header])) == [Challenge("bearer", parameters)]
