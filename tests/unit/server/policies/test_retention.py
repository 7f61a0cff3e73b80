"""What retention decides: the rules alone, and the examples of other registries' documentation."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.policies.document import parse_policy
from entrepot.server.policies.facts import PolicyManifest, RepositoryFacts, TagFacts
from entrepot.server.policies.model import Guard
from entrepot.server.policies.plan import Fate, RetentionPlan, check
from entrepot.server.policies.retention import evaluate

DAY = 24 * 3600 * 1_000_000
NOW = 20_000 * DAY
HEX = "a" * 64


def tag(name: str, pushed: float = 100, pulled: float | None = None, **more: Any) -> TagFacts:
    """Pushed and pulled so many days ago; a digest of its own."""
    digest = more.pop("digest", f"sha256:{name}")
    return TagFacts(
        name, digest, NOW - round(pushed * DAY), None if pulled is None else NOW - round(pulled * DAY), **more
    )


def gone(text: str, tags: Iterable[TagFacts], **more: Any) -> list[str]:
    """The tags (or digests without one) that go."""
    facts = RepositoryFacts("acme/app", tuple(tags), **more)
    return sorted(row.tag or row.digest for row in evaluate(facts, parse_policy(text), NOW).removed)


def keeping(rules: str, more: str = "") -> str:
    return f'[[retention]]\nprojects = "acme"\nrest = "delete"\nkeep = [{rules}]\n{more}'


VERSIONS = [tag(f"v1.{minor}.{patch}", pushed=100 - patch) for minor in (1, 2) for patch in range(8)]


def test_the_example_of_the_documentation() -> None:
    text = keeping(
        '{ newest = 5, tags = "v*", per = "minor" }, { pulled-within = "30d" },'
        ' { always = true, tags = "stable" }'
    )
    tags = [
        *VERSIONS,
        tag("stable"),
        tag("dev-1", pulled=29),
        tag("dev-2", pulled=31),
        tag("dev-3", pushed=5),
    ]
    assert gone(text, tags) == ["dev-2", "v1.1.0", "v1.1.1", "v1.1.2", "v1.2.0", "v1.2.1", "v1.2.2"]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        # Harbor's templates: latestPushedK, latestPulledN, nDaysSinceLastPush, nDaysSinceLastPull, always.
        ("{ newest = 2 }", ["old", "pulled"]),
        ("{ most-recently-pulled = 2 }", ["middle", "old"]),
        ('{ pushed-within = "30d" }', ["old", "pulled"]),
        ('{ pulled-within = "30d" }', ["old"]),
        ('{ always = true, tags = "{old,pulled}" }', ["middle", "new"]),
        ('{ newest = 1 }, { pulled-within = "10d" }', ["middle", "old"]),
    ],
)
def test_harbors_templates(rules: str, expected: list[str]) -> None:
    """`new` was never pulled: there it would go with every rule about pulls."""
    tags = [tag("old", 90), tag("pulled", 80, pulled=3), tag("middle", 20), tag("new", 1)]
    assert gone(keeping(rules), tags) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Quay's autoprune: number_of_tags, creation_date, with a pattern of tags.
        ('[[retention]]\ndelete = [{ more-than = 2, tags = "**" }]', ["rc-1", "rc-2", "t1"]),
        ('[[retention]]\ndelete = [{ older-than = "7d", tags = "**" }]', ["rc-1", "t1"]),
        ('[[retention]]\ntags = "rc-*"\ndelete = [{ older-than = "3d" }]', ["rc-1", "rc-2"]),
        ('[[retention]]\ntags = "/rc-[0-9]+/"\ndelete = [{ more-than = 1 }]', ["rc-1"]),
    ],
)
def test_quays_autoprune(text: str, expected: list[str]) -> None:
    tags = [tag("rc-1", 10), tag("t1", 9), tag("rc-2", 5), tag("t2", 2), tag("t3", 1)]
    assert gone(text, tags) == expected


def test_ecrs_lifecycle_examples() -> None:
    """Filtering on image age, on image count, by several rules, as its examples of lifecycle policies."""
    untagged = [PolicyManifest("sha256:u1", NOW - 20 * DAY), PolicyManifest("sha256:u2", NOW - 2 * DAY)]
    age = '[[retention]]\ndelete = [{ untagged-older-than = "14d" }]'
    assert gone(age, [tag("prod")], untagged=untagged) == ["sha256:u1"]
    one = '[[retention]]\ntags = "prod*"\ndelete = [{ more-than = 1 }]'
    assert gone(one, [tag("prod1", 3), tag("prod2", 2), tag("beta", 9)]) == ["prod1"]
    several = '[[retention]]\ndelete = [{ more-than = 1, tags = "prod*" }, { more-than = 1, tags = "beta*" }]'
    tags = [tag("prod1", 3), tag("prod2", 2), tag("beta1", 5), tag("beta2", 4)]
    assert gone(several, tags) == ["beta1", "prod1"]
    pulled = '[[retention]]\ndelete = [{ not-pulled-for = "90d", tags = "**" }]'
    assert gone(pulled, [tag("a", 200, pulled=100), tag("b", 200, pulled=1), tag("c", 200), tag("d", 3)]) == [
        "a",
        "c",
    ]


def test_keep_beats_delete_also_in_another_block() -> None:
    text = '[[retention]]\ntags = "dev-*"\n[[retention]]\nkeep = [{ newest = 1, tags = "dev-*" }]'
    assert gone(text, [tag("dev-1", 3), tag("dev-2", 2), tag("v1", 9)]) == ["dev-1"]


def test_a_block_touches_no_tag_that_it_does_not_name() -> None:
    text = '[[retention]]\ntags = "dev-*"\nkeep = [{ newest = 1 }]'
    assert gone(text, [tag("dev-1", 3), tag("dev-2", 2), tag("v1", 9), tag("latest", 400)]) == ["dev-1"]
    assert gone("[[retention]]\nkeep = [{ newest = 1 }]", [tag("a", 3), tag("b", 2)]) == []
    elsewhere = '[[retention]]\nprojects = "other"\nrest = "delete"'
    assert gone(elsewhere, [tag("a")]) == []


def test_versions_are_counted_by_version_with_or_without_v() -> None:
    names = ["1.2.9", "v1.2.10", "v1.2.2", "v1.2.10-rc.1", "v1.2.11_build.3", "v1.2", "v1", "v2.0.0", "vnext"]
    tags = [tag(name, pushed) for pushed, name in enumerate(names, start=1)]
    assert gone(keeping('{ newest = 2, tags = "*", per = "minor" }'), tags) == [
        "1.2.9",
        "v1.2.10-rc.1",
        "v1.2.2",
        "vnext",
    ]
    assert gone(keeping('{ newest = 1, per = "major" }'), [tag("1.9.0"), tag("1.10.0"), tag("2.0.1")]) == [
        "1.9.0"
    ]


def test_immutable_tags_stay_unless_retention_may_take_them() -> None:
    text = keeping(
        '{ newest = 1, tags = "none" }', '[[immutable]]\nprojects = "acme"\ntags = "v*"\nexcept = "v0.*"\n'
    )
    tags = [tag("v1"), tag("v0.1"), tag("x")]
    assert gone(text, tags) == ["v0.1", "x"]
    assert gone(text + 'delete = "by-retention"', tags) == ["v0.1", "v1", "x"]
    assert gone(text, tags, is_proxy=True) == ["v0.1", "v1", "x"]


def test_what_is_held_stays() -> None:
    assert gone(
        keeping('{ newest = 1, tags = "b" }'), [tag("a"), tag("b"), tag("c")], held={"a": "audit"}
    ) == ["c"]


def test_cosigns_tags_stay_and_go_with_their_image() -> None:
    image = tag("v1", 90, digest=f"sha256:{HEX}")
    signatures = [tag(f"sha256-{HEX}.{kind}", 1) for kind in ("sig", "att", "sbom")]
    kept = keeping('{ always = true, tags = "v1" }')
    names = sorted(one.name for one in signatures)
    assert gone(kept, [image, tag("x"), *signatures]) == ["x"]
    assert gone(keeping('{ always = true, tags = "x" }'), [image, tag("x"), *signatures]) == [*names, "v1"]
    # A signature of one platform goes with the index, and takes no place among the newest.
    index = tag("v1", 90, digest="sha256:index", kind="index")
    children: Mapping[str, list[str]] = {"sha256:index": [f"sha256:{HEX}"]}
    untagged = [PolicyManifest(f"sha256:{HEX}", NOW)]
    more = {"children": children, "untagged": untagged}
    assert gone(kept, [index, tag("x"), *signatures], **more) == ["x"]
    assert gone(keeping("{ newest = 1 }"), [index, tag("x", 5), *signatures], **more) == [*names, "v1"]


def test_an_index_keeps_its_children_and_a_subject_its_referrers() -> None:
    text = '[[retention]]\ndelete = [{ untagged-older-than = "1d" }]'
    untagged = [
        PolicyManifest("sha256:child", 0),
        PolicyManifest("sha256:sbom", 0, subject="sha256:child"),
        PolicyManifest("sha256:orphan", 0, subject="sha256:gone"),
        PolicyManifest("sha256:dangling", 0),
    ]
    found = gone(text, [tag("v1")], untagged=untagged, children={"sha256:v1": ["sha256:child"]})
    assert found == ["sha256:dangling", "sha256:orphan"]


def test_a_row_says_which_rule_and_until_when() -> None:
    facts = RepositoryFacts("acme/app", [tag("a", 40, pulled=20), tag("b", 1)])
    policy = parse_policy(keeping('{ pulled-within = "30d" }, { always = true, tags = "b" }'))
    first, second = evaluate(facts, policy, NOW).rows
    assert (first.decision, first.rule, first.goes_at) == (
        Fate.KEEP,
        "retention 1, keep 1",
        NOW + 10 * DAY,
    )
    assert first.why == "pulled within 30 days"
    assert (second.rule, second.goes_at) == ("retention 1, keep 2", None)


def test_much_at_once_waits_for_a_person() -> None:
    def waits(keep: int, of: int) -> list[str]:
        plan = RetentionPlan(NOW)
        tags = [tag(f"t{n}", n) for n in range(of)]
        facts = RepositoryFacts("acme/app", tags)
        plan.add(evaluate(facts, parse_policy(keeping(f"{{ newest = {keep} }}")), NOW))
        return check(plan, Guard())

    assert waits(7, 10) == []
    assert waits(6, 10)[0] == (
        "4 of 10 tags of the repository acme/app would go, 40 %; more than 30 % waits for a person"
    )
    assert waits(0, 1)[0] == "no tag of the repository acme/app would stay"


NAMES = st.sampled_from(["v1.0.0", "v1.0.1", "v1.1.0", "dev-1", "dev-2", "latest", "stable"])
TAGS = st.lists(
    st.builds(tag, NAMES, st.integers(0, 100), st.none() | st.integers(0, 100)), unique_by=lambda t: t.name
)
KEEPS = st.sampled_from(
    [
        "{ newest = 2 }",
        '{ newest = 1, per = "minor" }',
        '{ pulled-within = "30d" }',
        '{ pushed-within = "9d" }',
    ]
)


@given(TAGS, st.lists(KEEPS, min_size=1, unique=True))
def test_what_is_left_after_a_run_stays_at_the_next(tags: list[TagFacts], keeps: list[str]) -> None:
    text = keeping(", ".join(keeps))
    removed = gone(text, tags)
    assert gone(text, [one for one in tags if one.name not in removed]) == []


@given(TAGS, st.lists(KEEPS, min_size=1, unique=True), KEEPS)
def test_one_more_keep_rule_never_removes_more(tags: list[TagFacts], keeps: list[str], more: str) -> None:
    assert set(gone(keeping(", ".join([*keeps, more])), tags)) <= set(gone(keeping(", ".join(keeps)), tags))
