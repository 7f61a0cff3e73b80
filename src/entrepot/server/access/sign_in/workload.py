"""Keyless CI: a token that GitHub Actions, GitLab, Kubernetes … gave a job is taken as a robot's credential.

A rule names an issuer, an audience, claims (globs over their text), and the robot it stands for. The robot's
grants say what it may do; nothing secret is stored in the CI system.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import InvalidCredentials, InvalidPattern, Unknown
from entrepot.server.access.decision.patterns import glob_matches
from entrepot.server.access.sign_in.sources.oidc import WELL_KNOWN_ISSUERS, OidcIssuer
from entrepot.server.access.sign_in.sources.outbound import Outbound
from entrepot.server.db.tables.access import principal, workload_rule

__all__ = [
    "WELL_KNOWN_ISSUERS",
    "WorkloadRule",
    "WorkloadVerifier",
    "add_rule",
    "issuer_is_known",
    "list_rules",
    "looks_like_jwt",
    "names_an_owner",
    "remove_rule",
    "rule_matches",
]

DEFAULT_AUDIENCE: Final = "entrepot"
_KUBERNETES: Final = "system:serviceaccount:"
"""The one kind of subject in use that is two words."""
_IDENTIFYING: Final = frozenset({"sub", "repository", "project_path", "repository_owner", "namespace_path"})


@dataclass(frozen=True, slots=True)
class WorkloadRule:
    id: int
    robot: str
    issuer: str
    audience: str
    claims: Mapping[str, str]


_SELECT: Final = select(
    workload_rule.c.id,
    principal.c.name,
    workload_rule.c.issuer,
    workload_rule.c.audience,
    workload_rule.c.claims,
).join(principal, principal.c.id == workload_rule.c.principal_id)


def list_rules(
    connection: Connection, *, robot: str | None = None, issuer: str | None = None
) -> list[WorkloadRule]:
    query = _SELECT.order_by(workload_rule.c.id)
    if robot is not None:
        query = query.where(principal.c.name == robot)
    if issuer is not None:
        query = query.where(workload_rule.c.issuer == issuer)
    return [
        WorkloadRule(row.id, row.name, row.issuer, row.audience, json.loads(row.claims))
        for row in connection.execute(query)
    ]


def add_rule(
    connection: Connection,
    by: Actor,
    *,
    now: int,
    robot_id: int,
    issuer: str,
    claims: Mapping[str, str],
    audience: str = DEFAULT_AUDIENCE,
) -> int:
    """Raises InvalidPattern when the claims would let in everybody the issuer knows."""
    if not any(names_an_owner(name, pattern) for name, pattern in claims.items()):
        raise InvalidPattern(
            "the rule would take jobs of anybody at this issuer",
            hint=f"name an owner in one of {', '.join(sorted(_IDENTIFYING))}, before any *, as in "
            "repository=acme/app, repository_owner=acme, project_path=acme/*, sub=repo:acme/app:*, "
            "sub=system:serviceaccount:builds:*",
        )
    OidcIssuer(issuer)  # only its address is checked here
    rule_id = connection.execute(
        insert(workload_rule)
        .values(
            principal_id=robot_id,
            issuer=issuer.rstrip("/"),
            audience=audience,
            claims=json.dumps(dict(claims), sort_keys=True),
            created_at=now,
        )
        .returning(workload_rule.c.id)
    ).scalar_one()
    detail = {"robot": robot_id, "issuer": issuer, "claims": dict(claims)}
    record(connection, by, "add-workload-rule", now=now, new=str(rule_id), detail=detail)
    return int(rule_id)


def remove_rule(connection: Connection, by: Actor, rule_id: int, *, robot_id: int, now: int) -> None:
    """Raises Unknown."""
    gone = connection.execute(
        delete(workload_rule).where(workload_rule.c.id == rule_id, workload_rule.c.principal_id == robot_id)
    )
    if gone.rowcount == 0:
        raise Unknown(f"no such rule: {rule_id}")
    record(connection, by, "remove-workload-rule", now=now, old=str(rule_id))


def issuer_is_known(connection: Connection, issuer: str) -> bool:
    """Well known, or named in a rule before (then an admin has said yes to it)."""
    url = issuer.rstrip("/")
    return url in WELL_KNOWN_ISSUERS or bool(list_rules(connection, issuer=url))


def names_an_owner(claim: str, pattern: str) -> bool:
    """Whether only jobs of one owner (a user, an organisation, a namespace) can have this claim. Pure.

    What is before the first `*` holds the owner's whole name and what ends it: `acme*` is `acme-evil` too.
    """
    if claim not in _IDENTIFYING:
        return False
    fixed, star, _ = pattern.partition("*")
    if not star:
        return bool(fixed.strip())
    if claim == "sub":  # repo:OWNER/…, project_path:OWNER/…, organization:OWNER:…, org/ID/…
        kind = _KUBERNETES if fixed.startswith(_KUBERNETES) else fixed[: _first_end(fixed) + 1]
        fixed = fixed.removeprefix(kind)
        if not kind:
            return False
    return _first_end(fixed) > 0


def _first_end(text: str) -> int:
    """Where the first part of `text` ends; -1 when nothing says that it does."""
    return next((place for place, character in enumerate(text) if character in ":/"), -1)


def rule_matches(rule: WorkloadRule, claims: Mapping[str, Any]) -> bool:
    """Every claim the rule names is there, is text (or a number), and matches its glob."""
    for name, pattern in rule.claims.items():
        value = claims.get(name)
        if (
            isinstance(value, bool)
            or not isinstance(value, str | int)
            or not glob_matches(pattern, str(value))
        ):
            return False
    return True


def looks_like_jwt(text: str) -> bool:
    return text.startswith("eyJ") and text.count(".") == 2


class WorkloadVerifier:
    """Verifies a job's token for a robot. Asks only issuers that a rule names."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._issuers: dict[str, OidcIssuer] = {}

    async def verify(self, token: str, rules: list[WorkloadRule]) -> WorkloadRule:
        """The rule that lets it in. Raises InvalidCredentials, OidcUnavailable, SourceBusy."""
        issuer_url = _unverified_issuer(token)
        candidates = [rule for rule in rules if rule.issuer == issuer_url]
        for audience in sorted({rule.audience for rule in candidates}):
            issuer = self._issuers.get(issuer_url)
            if issuer is None:
                issuer = self._issuers[issuer_url] = OidcIssuer(issuer_url)
            try:
                claims = await self._outbound.ask(issuer_url, _claims, issuer, token, audience)
            except InvalidCredentials:
                continue
            for rule in candidates:
                if rule.audience == audience and rule_matches(rule, claims):
                    return rule
        raise InvalidCredentials("no rule lets this job's token in")


def _claims(issuer: OidcIssuer, token: str, audience: str) -> dict[str, Any]:
    return issuer.claims(token, audience=audience)


def _unverified_issuer(token: str) -> str:
    """Only to choose which configured issuer to ask; nothing is believed yet."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return str(claims["iss"]).rstrip("/")
    except (IndexError, ValueError, RecursionError, KeyError, TypeError):
        raise InvalidCredentials("the job's token can't be read") from None
