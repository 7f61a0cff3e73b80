"""What retention keeps and removes: `evaluate(facts, policy, now)`, the one function that preview,
explanation and the real run ask. Pure.

In order: every keep rule of every block saves its tags; what a block names and nothing saves goes, unless it
is immutable or held. A cosign tag goes and stays with the image that it speaks of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from entrepot.server.policies.facts import RepositoryFacts, TagFacts
from entrepot.server.policies.immutability import immutable_by, told
from entrepot.server.policies.model import DeleteRule, KeepRule, Policy, Retention, WhichTags
from entrepot.server.policies.plan import Fate, PlanRow, RepositoryPlan
from entrepot.server.policies.versions import ReleaseVersion, parse_version

__all__ = ["evaluate", "subject_of_tag"]

DAY: Final = 24 * 3600 * 1_000_000
_COSIGN: Final = re.compile(r"sha256-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?")
Reason = tuple[str, str, int | None]
"""Rule, why, and until when it holds (None: time does not end it)."""


def subject_of_tag(name: str) -> str | None:
    """The digest that a tag of cosign's, or of the referrers tag schema, speaks of."""
    found = _COSIGN.fullmatch(name)
    return f"sha256:{found[1]}" if found else None


def evaluate(facts: RepositoryFacts, policy: Policy, now: int) -> RepositoryPlan:
    """One row a tag, in the order of the facts, then one a manifest without a tag that goes."""
    blocks = [block for block in policy.retention if facts.name in block.repositories]
    if not blocks:
        left = [PlanRow(facts.name, tag.name, tag.digest, Fate.LEAVE, "", _NO_RULE) for tag in facts.tags]
        return RepositoryPlan(facts.name, tuple(left))
    here = {tag.digest for tag in facts.tags} | {one.digest for one in facts.untagged}
    for children in facts.children.values():
        here.update(children)
    bound = {
        tag.name: subject
        for tag in facts.tags
        if (subject := subject_of_tag(tag.name)) is not None and subject in here and subject != tag.digest
    }
    own = [tag for tag in facts.tags if tag.name not in bound]
    saved = _saved(blocks, own, now)
    named = _named(blocks, own, now)
    decided = {tag.name: _decide(facts, policy, tag, saved, named, now) for tag in own}
    untagged = _untagged(blocks, facts, now)
    stays = _staying(facts, decided, untagged)
    for tag in facts.tags:
        if tag.name in bound:
            decided[tag.name] = _follow(facts, policy, tag, bound[tag.name], stays)
    rows = [decided[tag.name] for tag in facts.tags]
    rows += [row for row in untagged if row.digest not in stays]
    return RepositoryPlan(facts.name, tuple(rows))


_NO_RULE: Final = "no rule is about it"


def _decide(
    facts: RepositoryFacts,
    policy: Policy,
    tag: TagFacts,
    saved: dict[str, list[Reason]],
    named: dict[str, Reason],
    now: int,
) -> PlanRow:
    row = PlanRow(facts.name, tag.name, tag.digest, Fate.KEEP, "", "")
    reasons = saved.get(tag.name, [])
    loss = named.get(tag.name)
    if tag.name in facts.held or tag.digest in facts.held:
        why = facts.held.get(tag.name) or facts.held[tag.digest]
        return replace(row, rule="hold", why=f"held: {why}")
    rule = (
        None
        if facts.is_proxy
        else immutable_by(policy.immutable, facts.name, tag.name, tag.kind, by_retention=True)
    )
    if rule is not None and (loss is not None or not reasons):
        return replace(row, rule=rule.label, why=f"immutable: {told(rule)}")
    if reasons:
        ends = [until for _, _, until in reasons]
        lasting = next((reason for reason in reasons if reason[2] is None), None)
        label, why, _ = lasting or max(reasons, key=lambda reason: reason[2] or 0)
        goes_at = None
        if lasting is None and loss is not None:
            goes_at = max(
                [end for end in ends if end is not None] + ([loss[2]] if loss[2] is not None else [])
            )
        return replace(row, rule=label, why=why, goes_at=goes_at)
    if loss is None:
        return replace(row, decision=Fate.LEAVE, why=_NO_RULE)
    label, why, at = loss
    if at is not None and at > now:
        return replace(row, decision=Fate.LEAVE, rule=label, why="not old enough yet", goes_at=at)
    return replace(row, decision=Fate.REMOVE, rule=label, why=why)


def _saved(blocks: Sequence[Retention], tags: Sequence[TagFacts], now: int) -> dict[str, list[Reason]]:
    found: dict[str, list[Reason]] = {}
    for block in blocks:
        for rule in block.keep:
            for name, why, until in _keeps(rule, _chosen(rule.tags, tags), now):
                found.setdefault(name, []).append((rule.label, why, until))
    return found


def _chosen(which: WhichTags, tags: Sequence[TagFacts]) -> list[TagFacts]:
    return [tag for tag in tags if which.chooses(tag.name, tag.kind)]


def _keeps(rule: KeepRule, tags: list[TagFacts], now: int) -> Iterable[tuple[str, str, int | None]]:
    if rule.always:
        return [(tag.name, "always kept", None) for tag in tags]
    if rule.newest is not None and rule.per is not None:
        return _newest_versions(rule, tags)
    if rule.newest is not None:
        return [(tag.name, f"one of the {rule.newest} newest", None) for tag in _newest(tags)[: rule.newest]]
    if rule.recently_pulled is not None:
        tags.sort(key=lambda tag: (tag.used_at, tag.pushed_at, tag.name), reverse=True)
        why = f"one of the {rule.recently_pulled} most recently pulled"
        return [(tag.name, why, None) for tag in tags[: rule.recently_pulled]]
    if rule.pushed_within is not None:
        ends = [(tag.name, tag.pushed_at + rule.pushed_within) for tag in tags]
        why = f"pushed within {_days(rule.pushed_within)}"
        return [(name, why, end) for name, end in ends if end > now]
    assert rule.pulled_within is not None
    within = rule.pulled_within
    return [
        (
            tag.name,
            f"{'pulled' if tag.pulled_at is not None else 'pushed, never pulled,'} within {_days(within)}",
            tag.used_at + within,
        )
        for tag in tags
        if tag.used_at + within > now
    ]


def _newest(tags: Sequence[TagFacts]) -> list[TagFacts]:
    return sorted(tags, key=lambda tag: (tag.pushed_at, tag.name), reverse=True)


def _newest_versions(rule: KeepRule, tags: list[TagFacts]) -> Iterable[tuple[str, str, int | None]]:
    """The highest of each line; that is their order whenever they were pushed. A name of the line itself
    (`v1.2`, `v1`) is kept and takes no place. What is no version is none of this rule's business.
    """
    lines: dict[tuple[int, ...], list[tuple[ReleaseVersion, TagFacts]]] = {}
    found: list[tuple[str, str, int | None]] = []
    for tag in tags:
        version = parse_version(tag.name)
        if version is None:
            continue
        if version.is_line:
            found.append((tag.name, "names a line of versions", None))
            continue
        line: tuple[int, ...] = (version.major,)
        if rule.per == "minor":
            line = (version.major, version.minor or 0)
        lines.setdefault(line, []).append((version, tag))
    for line, members in lines.items():
        members.sort(
            key=lambda pair: (
                pair[0].order if rule.per == "minor" else (pair[0].minor, pair[0].order),
                pair[1].pushed_at,
            ),
            reverse=True,
        )
        why = f"one of the {rule.newest} newest of {'.'.join(map(str, line))}"
        found += [(tag.name, why, None) for _, tag in members[: rule.newest]]
    return found


def _named(blocks: Sequence[Retention], tags: Sequence[TagFacts], now: int) -> dict[str, Reason]:
    """The tags that go unless something saves them: the rule, why, and from when (None: now). The earliest
    wins.
    """
    found: dict[str, Reason] = {}

    def name(tag: str, label: str, why: str, at: int | None) -> None:
        before = found.get(tag)
        if before is None or (before[2] or 0) > (at or 0):
            found[tag] = (label, why, at)

    for block in blocks:
        if block.tags is not None and not block.delete:
            for tag in _chosen(block.tags, tags):
                name(tag.name, block.label, "named, and no keep rule saves it", None)
        if block.takes_rest:
            for tag in tags:
                name(tag.name, block.label, "no keep rule saves it", None)
        for rule in block.delete:
            for tag, why, at in _losses(rule, _chosen(rule.tags, tags)):
                name(tag.name, rule.label, why, at)
    return {
        tag: (label, why, None if at is not None and at <= now else at)
        for tag, (label, why, at) in found.items()
    }


def _losses(rule: DeleteRule, tags: list[TagFacts]) -> Iterable[tuple[TagFacts, str, int | None]]:
    if rule.older_than is not None:
        why = f"pushed more than {_days(rule.older_than)} ago"
        return [(tag, why, tag.pushed_at + rule.older_than) for tag in tags]
    if rule.not_pulled_for is not None:
        why = f"not pulled for {_days(rule.not_pulled_for)}"
        return [(tag, why, tag.used_at + rule.not_pulled_for) for tag in tags]
    if rule.more_than is not None:
        return [
            (tag, f"more than {rule.more_than} are newer", None) for tag in _newest(tags)[rule.more_than :]
        ]
    return ()


def _untagged(blocks: Sequence[Retention], facts: RepositoryFacts, now: int) -> list[PlanRow]:
    rules = [rule for block in blocks for rule in block.delete if rule.untagged_older_than is not None]
    found = []
    for one in facts.untagged:
        for rule in rules:
            assert rule.untagged_older_than is not None
            if one.digest not in facts.held and one.pushed_at + rule.untagged_older_than <= now:
                why = f"without a tag, pushed more than {_days(rule.untagged_older_than)} ago"
                found.append(PlanRow(facts.name, "", one.digest, Fate.REMOVE, rule.label, why))
                break
    return found


def _staying(facts: RepositoryFacts, decided: dict[str, PlanRow], untagged: Sequence[PlanRow]) -> set[str]:
    """Digests with a reason to stay: a tag, an index that needs them, or a subject that stays."""
    leaving = {row.digest for row in untagged}
    subject_of = {one.digest: one.subject for one in facts.untagged if one.subject}
    children = {child for found in facts.children.values() for child in found}
    reached = {row.digest for row in decided.values() if row.decision is not Fate.REMOVE}
    reached |= {
        one.digest
        for one in facts.untagged
        if one.digest not in leaving and one.digest not in children and one.digest not in subject_of
    }
    referring: dict[str, list[str]] = {}
    for digest, subject in subject_of.items():
        referring.setdefault(subject, []).append(digest)
    stays: set[str] = set()
    waiting = list(reached)
    while waiting:
        digest = waiting.pop()
        if digest not in stays:
            stays.add(digest)
            waiting += facts.children.get(digest, ())
            waiting += referring.get(digest, ())
    return stays


def _follow(facts: RepositoryFacts, policy: Policy, tag: TagFacts, subject: str, stays: set[str]) -> PlanRow:
    row = PlanRow(
        facts.name, tag.name, tag.digest, Fate.KEEP, "its subject", f"its subject {subject[:19]} stays"
    )
    if subject in stays:
        return row
    if tag.name in facts.held or tag.digest in facts.held:
        return replace(row, rule="hold", why="held")
    rule = immutable_by(policy.immutable, facts.name, tag.name, tag.kind, by_retention=True)
    if rule is not None and not facts.is_proxy:
        return replace(row, rule=rule.label, why=f"immutable: {told(rule)}")
    return replace(row, decision=Fate.REMOVE, why=f"its subject {subject[:19]} goes")


def _days(duration: int) -> str:
    for size, unit in ((DAY, "day"), (DAY // 24, "hour"), (DAY // 1440, "minute"), (1_000_000, "second")):
        if duration and duration % size == 0:
            number = duration // size
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{duration / 1_000_000:g} seconds"
