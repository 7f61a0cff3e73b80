"""`/policy`, `/projects/{project}/policy`, `/retention/runs`: rules, what they would do, what they did."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from entrepot.server.access.decision.model import Action
from entrepot.server.api.paging import DEFAULT_N, N
from entrepot.server.api.route import get, post, put
from entrepot.server.api.schemas import at, when
from entrepot.server.control import policies, retention
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller

__all__ = ["ROUTES"]

PolicyToml = Annotated[str, Meta(max_length=65536, examples=['[[immutable]]\ntags = "v*"\n'])]


class PolicyBody(msgspec.Struct, forbid_unknown_fields=True):
    text: PolicyToml
    """TOML, as docs/policies.md has it."""


class PolicyView(msgspec.Struct):
    version: int
    """0: there is none."""
    text: str
    changed_at: datetime | None
    changed_by: str


class RemovalView(msgspec.Struct):
    repository: str
    tag: str | None
    """null: a manifest without a tag."""
    digest: str
    rule: str
    why: str


class RefusalView(msgspec.Struct):
    repository: str
    tag: str
    was: str
    """`overwritten` or `deleted`."""
    rule: str
    at: datetime
    by: str


class PolicyPlanView(msgspec.Struct):
    base: int
    """The version that holds now."""
    diff: list[str]
    removed: list[RemovalView]
    kept: int
    waits_for: list[str]
    """Why a run would wait for a person."""
    refused: list[RefusalView]


class RetentionRunView(msgspec.Struct):
    id: int
    state: str
    at: datetime
    by: str
    removed: int
    kept: int
    reason: str | None


@get("/policy", Action.READ_SYSTEM, "Show the registry's policy", tags=["policies"])
async def show(services: Services, caller: Caller) -> PolicyView:
    return _policy_view(await policies.show_policy(services, caller))


@put("/policy", Action.MANAGE_SYSTEM, "Put a policy in force for the registry", tags=["policies"])
async def apply(services: Services, caller: Caller, data: PolicyBody) -> PolicyView:
    """409 when it would not do any more what the last plan of this text has shown."""
    return _policy_view(await policies.apply_policy(services, caller, data.text))


@post("/policy/plan", Action.MANAGE_SYSTEM, "Show what a policy would do", tags=["policies"], status_code=200)
async def plan(services: Services, caller: Caller, data: PolicyBody) -> PolicyPlanView:
    return _plan_view(await policies.plan_policy(services, caller, data.text))


@get("/projects/{project:str}/policy", Action.MANAGE_PROJECT, "Show a project's policy", tags=["policies"])
async def show_of_project(services: Services, caller: Caller, project: str) -> PolicyView:
    return _policy_view(await policies.show_policy(services, caller, project=project))


@put(
    "/projects/{project:str}/policy",
    Action.MANAGE_PROJECT,
    "Put a policy in force for a project",
    tags=["policies"],
)
async def apply_to_project(services: Services, caller: Caller, project: str, data: PolicyBody) -> PolicyView:
    """409 when it would not do any more what the last plan of this text has shown."""
    return _policy_view(await policies.apply_policy(services, caller, data.text, project=project))


@post(
    "/projects/{project:str}/policy/plan",
    Action.MANAGE_PROJECT,
    "Show what a project's policy would do",
    tags=["policies"],
    status_code=200,
)
async def plan_of_project(
    services: Services, caller: Caller, project: str, data: PolicyBody
) -> PolicyPlanView:
    return _plan_view(await policies.plan_policy(services, caller, data.text, project=project))


@get("/retention/runs", Action.READ_SYSTEM, "List runs of retention", tags=["policies"])
async def runs(services: Services, caller: Caller, n: N = DEFAULT_N) -> list[RetentionRunView]:
    """Newest first."""
    found = await retention.list_retention_runs(services, caller, n=n)
    return [
        RetentionRunView(one.id, one.state, at(one.at), one.by, one.removed, one.kept, one.reason)
        for one in found
    ]


def _policy_view(found: policies.PolicyText) -> PolicyView:
    return PolicyView(found.version, found.text, when(found.at or None), found.by)


def _plan_view(found: policies.PolicyPreview) -> PolicyPlanView:
    return PolicyPlanView(
        base=found.base,
        diff=found.diff,
        removed=[
            RemovalView(row.repository, row.tag or None, row.digest, row.rule, row.why)
            for row in found.plan.removed
        ],
        kept=found.plan.kept,
        waits_for=found.plan.waits_for,
        refused=[
            RefusalView(one.repository, one.tag, one.what, one.rule, at(one.at), one.by)
            for one in found.refused
        ],
    )


ROUTES = [show, apply, plan, show_of_project, apply_to_project, plan_of_project, runs]
