"""Which of two versions is older, and what is said when it cannot be told."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrepot.inventory.versions.order import MAX_LENGTH, ORDERS, compare, is_readable
from entrepot.inventory.versions.ranges import AffectedRange, Verdict, affected

ASCENDING = {
    "deb": "1.0~rc1 1.0 1.0-1 1.0-1+deb11u1 1.0-1+deb11u2 1.0.1 1.2a 1:0.1",
    "Alpine:v3.19": "0.9_alpha 0.9_beta2 0.9_pre1 0.9_rc1 0.9 0.9_git20200101 0.9_p1 0.9a 0.9b 0.10 1.0_rc1 1.0 1.0-r1 1.01 1.1 5.1p1-r0 5.2",  # noqa: E501
    "Red Hat": "1.0~rc1 1.0 1.0^git1 1.0a 1.0.1 2 10 1:0.1-1 1:0.1-2.el9",
    "PyPI": "2004d 1.0.dev1 1.0a1 1.0rc1 1.0 1.0.post1 1.1 1!0.1",
    "npm": "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.10.0",  # noqa: E501
    "Go": "v0.0.0-20190101000000-aaaaaaaaaaaa v1.0.0 1.20.1 1.21rc2 1.21.0 go1.21.3 v1.22.0",
    "crates.io": "0.1.0 0.1.1-pre 0.1.1 1.2.3.4",
    "RubyGems": "1.0.a 1.0.b1 1.0 1.0.1 1.10",
    "Maven": "1.0-alpha-1 1.0-beta1 1.0-SNAPSHOT 1.0 1.0-sp1 1.0.1 2.0",
    "NuGet": "1.0.0-alpha 1.0.0 1.0.0.1 1.1",
    "Packagist": "1.0-dev 1.0-alpha1 1.0-alpha2 1.0-beta 1.0-RC1 v1.0 1.0.0.0-p1 1.0.1 1.10 1.x-dev 2.0 2010.01.02",  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("ecosystem", ASCENDING)
def test_versions_ascend_as_the_ecosystem_says(ecosystem: str) -> None:
    for older, newer in pairwise(ASCENDING[ecosystem].split()):
        assert compare(ecosystem, older, newer) == -1, (older, newer)
        assert compare(ecosystem, newer, older) == 1, (newer, older)


@pytest.mark.parametrize(
    ("ecosystem", "a", "b"),
    [
        ("deb", "0:1.0", "1.0"), ("rpm", "0:1.0-1", "1.0-1"), ("rpm", "1.001", "1.1"),
        ("npm", "v1.2.3", "1.2.3+build"), ("go", "1.2", "v1.2.0"), ("pypi", "1.0", "1.0.0"), ("pypi", "1.0RC1", "1.0c1"),  # noqa: E501
        ("composer", "v1.0", "1.0.0.0"), ("composer", "1.0-patch1", "1.0.0-p1"), ("composer", "dev-main", "dev-main"),  # noqa: E501
        ("maven", "1.0", "1.0.0"), ("gem", "1.0", "1.0.0"),
    ],
)  # fmt: skip
def test_some_versions_are_written_in_two_ways(ecosystem: str, a: str, b: str) -> None:
    assert compare(ecosystem, a, b) == compare(ecosystem, b, a) == 0


@pytest.mark.parametrize(
    ("ecosystem", "version"),
    [
        *((family, text) for family in ORDERS for text in ("", " 1.0", "1 0", "${version}", "1.0\n", "\u0663.1", "1;0")),  # noqa: E501
        ("deb", "latest"), ("npm", "latest"), ("apk", "x1"), ("apk", "1.0_x"), ("composer", "x"), ("unheard-of", "1.0"),  # noqa: E501
        ("npm", "1..2"),
    ],
)  # fmt: skip
def test_what_is_no_version_compares_with_nothing(ecosystem: str, version: str) -> None:
    assert compare(ecosystem, version, "1.0") is None
    assert compare(ecosystem, "1.0", version) is None


PATCHED = AffectedRange(events=(("introduced", "0"), ("fixed", "2.0")))


@pytest.mark.parametrize("ecosystem", sorted(ORDERS))
@pytest.mark.parametrize(
    "version",
    ["", "latest", "master", "9" * (MAX_LENGTH + 1), "a" * 10_000_000, "3;0", "${revision}", "RELEASE"],
    ids=["empty", "latest", "master", "too long", "ten megabytes", "semicolon", "unset", "RELEASE"],
)
def test_what_cannot_be_read_is_unknown_and_never_fine(ecosystem: str, version: str) -> None:
    assert affected(ecosystem, version, PATCHED) is Verdict.UNKNOWN
    assert affected(ecosystem, "1.0", AffectedRange(events=(("introduced", version),))) is Verdict.UNKNOWN
    assert affected("unheard-of", "3.0", PATCHED) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("version", "events", "expected"),
    [
        ("1.0", [("introduced", "0"), ("fixed", "2.0")], True),
        ("2.0", [("introduced", "0"), ("fixed", "2.0")], False),
        ("0.5", [("introduced", "1.0"), ("fixed", "2.0")], False),
        ("2.0", [("introduced", "0"), ("last_affected", "2.0")], True),
        ("2.0.1", [("introduced", "0"), ("last_affected", "2.0")], False),
        ("3.5", [("fixed", "2.0"), ("introduced", "3.0"), ("introduced", "0"), ("fixed", "4.0")], True),
        ("2.5", [("fixed", "2.0"), ("introduced", "3.0"), ("introduced", "0"), ("fixed", "4.0")], False),
        ("5.0", [("introduced", "0"), ("limit", "4.0")], False),
        ("3.0", [("introduced", "0"), ("limit", "4.0")], True),
        ("3.0", [("introduced", "0"), ("limit", "*")], True),
    ],
)
@pytest.mark.parametrize("ecosystem", ["npm", "Debian:12", "PyPI", "Maven"])
def test_events_are_evaluated_as_osv_says(
    ecosystem: str, version: str, events: list[tuple[str, str]], expected: bool
) -> None:
    found = affected(ecosystem, version, AffectedRange(events=tuple(events)))
    assert found is (Verdict.AFFECTED if expected else Verdict.NOT_AFFECTED)


def test_a_listed_version_is_affected_whatever_the_events_say() -> None:
    within = AffectedRange(frozenset({"odd build"}), (("introduced", "1"), ("fixed", "2")))
    assert affected("npm", "odd build", within) is Verdict.AFFECTED


def test_every_version_is_affected_where_nothing_is_fixed() -> None:
    assert affected("npm", "latest", AffectedRange(events=(("introduced", "0"),))) is Verdict.AFFECTED


VERSIONS = st.text("0123456789.-~^+_:abrcpdvRC", min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ORDERS)), VERSIONS, VERSIONS)
def test_turning_the_question_round_turns_the_answer(ecosystem: str, a: str, b: str) -> None:
    forward, back = compare(ecosystem, a, b), compare(ecosystem, b, a)
    assert back == (None if forward is None else -forward)
    assert compare(ecosystem, a, a) in (0, None)


NUMBERED = st.lists(st.integers(0, 30).map(str), min_size=1, max_size=3).map(".".join)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(set(ORDERS) - {"conan"})), NUMBERED, NUMBERED, NUMBERED)
def test_plain_versions_are_in_one_order(ecosystem: str, a: str, b: str, c: str) -> None:
    ab, bc, ac = compare(ecosystem, a, b), compare(ecosystem, b, c), compare(ecosystem, a, c)
    if ab is not None and bc is not None and ab == bc:
        assert ac == ab


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([("rpm", "RpmVersion"), ("pypi", "PypiVersion"), ("semver", "SemverVersion")]),
    NUMBERED,
    NUMBERED,
)
def test_ours_agree_with_univers_on_plain_versions(pair: tuple[str, str], a: str, b: str) -> None:
    from univers import versions

    kind = getattr(versions, pair[1])
    one, two = kind(a), kind(b)
    assert compare(pair[0], a, b) == (one > two) - (one < two)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(ORDERS)), st.text(max_size=40), st.text(max_size=40))
def test_no_text_raises(ecosystem: str, a: str, b: str) -> None:
    assert compare(ecosystem, a, b) in (-1, 0, 1, None)
    assert affected(ecosystem, a, AffectedRange(events=(("introduced", b),))) in Verdict
    assert is_readable(ecosystem, a) in (True, False)


@pytest.mark.parametrize("ecosystem", sorted(ORDERS))
def test_versions_at_the_limit_of_length_are_answered(ecosystem: str) -> None:
    for piece in ("1.", "1-", "a1", "9", "-", "_p1", "~", "1.0-a."):
        text = ("1" + piece * MAX_LENGTH)[:MAX_LENGTH]
        assert compare(ecosystem, text, text[:-1] + "2") in (-1, 0, 1, None)
