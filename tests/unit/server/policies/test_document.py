"""A policy is read strictly: what is wrong is refused with the setting and the position."""

import pytest

from entrepot.server.policies.document import parse_policy
from entrepot.server.policies.errors import InvalidPolicy
from entrepot.server.policies.patterns import parse_names

R = "[[retention]]\n"
KEEP = f"{{ newest = 1, tags = {['v*'] * 50} }}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[retention]\n", "line 1, column 12"),
        (R + 'tags = "v[0-"', "retention 1, tags: has the glob 'v[0-' with a [ at character 2 that no"),
        (R + 'tags = "{a,b"', "with a { at character 1 that no } closes"),
        (R + 'tags = "a}"', "with a } at character 2 that closes nothing"),
        (R + 'tags = "/v(1/"', "retention 1, tags: has the regular expression '/v(1/': missing )"),
        (R + 'tags = "v[]"', "brackets that name no letters"),
        (R + 'tags = "v[z-a]"', "has the glob 'v[z-a]'"),
        (R + f"keep = [{', '.join([KEEP] * 21)}]", "has 1050 patterns"),
        (R + 'tags = "{1..5000}"', "retention 1, tags: has the glob"),
        (
            R + 'keep = [{ newest = 5, tags = "v*" }, { pulled-within = "30 days" }]',
            "retention 1, keep 2, pulled-within: is '30 days'; it is a duration",
        ),
        (R + "keep = [{ newst = 5 }]", "retention 1, keep 1: there is no `newst`"),
        (R + "keep = [{ newest = 5, colour = 1 }]", "retention 1, keep 1: there is no `colour`"),
        (R + 'keep = [{ newest = 5, pulled-within = "1d" }]', "keep 1: says newest and pulled-within"),
        (R + "keep = [{ newest = -1 }]", "keep 1, newest: is -1; it is a whole number"),
        (R + 'keep = [{ pulled-within = "1d", per = "minor" }]', "has `per`, which goes with `newest` alone"),
        (R + 'rest = "remove"', "retention 1, rest: is 'remove'; it may be 'keep' or 'delete'"),
        (R, "retention 1: says neither what to keep nor what to delete"),
        (R + 'delete = [{ older-than = "1d" }]', "retention 1, delete 1: names no tags"),
        ("[retention]\n", "retention: is written [[retention]]"),
        ("[[immutable]]\n", "immutable 1: names no tags"),
        ('[[immutable]]\ntags = "v*"\ndelete = "yes"', "immutable 1, delete: is 'yes'"),
        ('[schedule]\nretention = "0 25 * * *"', "schedule, retention: is '0 25 * * *': bad hour, field 2"),
        ('[schedule]\nretention = "0 3 * *"', "with 4 fields; it has five"),
        ('[schedule]\ntime-zone = "Mars"', "schedule, time-zone: is 'Mars'; it is a time zone"),
        ("[guard]\nmost-removed = 30", "guard, most-removed: is 30; it is a share"),
        ("version = 2", "version: is 2; this registry reads policies up to version 1"),
        ("quota = 1", "there is no `quota`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidPolicy) as error:
        parse_policy(text)
    assert said in str(error.value)


def test_a_projects_policy_is_about_that_project_alone() -> None:
    policy = parse_policy('[[immutable]]\ntags = "v*"', "acme")
    assert "acme/app" in policy.immutable[0].repositories
    assert "other/app" not in policy.immutable[0].repositories
    with pytest.raises(InvalidPolicy, match="can't name other projects"):
        parse_policy('[[immutable]]\nprojects = "other"\ntags = "v*"', "acme")
    with pytest.raises(InvalidPolicy, match="guard: stands in the registry's policy alone"):
        parse_policy("[guard]\n", "acme")


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        (["v*"], ["v", "v1.2"], ["xv"]),
        (["*", "!v*"], ["x"], ["v1"]),
        (["!v*"], ["x"], ["v1"]),
        (["{a,b}-[0-9]*"], ["a-1", "b-22"], ["c-1", "a-x"]),
        (["team/*"], ["team/a"], ["team/a/b", "team"]),
        (["team/**"], ["team/a", "team/a/b"], ["other/a"]),
        (["**"], ["a", "a/b", ".hidden"], []),
        (["/v[0-9]+/"], ["v12"], ["v1x", "xv1"]),
        (["**/b"], ["b", "a/b", "a/a/b"], ["b/a", "ab"]),
        (["a/**/b", "x.y_z"], ["a/b", "a/c/d/b", "x.y_z"], ["a/bb", "c/a/b", "xxy_z"]),
        (["v?.{1..3}", "[!v]x"], ["v1.3", "ax"], ["v1.4", "vx", "/x", "v10.1"]),
        (["r\\*", "[a^]-?"], ["r*", "^-1", "a-b"], ["rr", "b-1"]),
    ],
)
def test_names(patterns: list[str], inside: list[str], outside: list[str]) -> None:
    names = parse_names(patterns)
    assert [name for name in [*inside, *outside] if name in names] == inside


def test_no_pattern_makes_a_push_wait() -> None:
    name = "/".join("a" * 100)
    hostile = ["**/a/" * 8 + "b", "**/*/" * 12 + "b", "*a" * 100 + "b", "/(a*)*(a|a/)*b/"]
    assert not [pattern for pattern in hostile if name in parse_names([pattern])]
