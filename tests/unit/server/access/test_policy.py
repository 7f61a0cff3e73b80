"""Every rule of the policy, in a table: facts, who, what → allowed, rule, how a refusal is told."""

from dataclasses import replace
from itertools import pairwise

import pytest

from entrepot.server.access.decision.model import (
    ANONYMOUS,
    PROJECT_ACTIONS,
    Action,
    Principal,
    PrincipalKind,
    Resource,
    Ruling,
    SystemRole,
    TokenScope,
    Visibility,
)
from entrepot.server.access.decision.patterns import (
    RepositoryPattern,
    TagPattern,
    parse_repository_pattern,
    parse_tag_pattern,
)
from entrepot.server.access.decision.policy import (
    AccessFacts,
    Grant,
    Narrowing,
    PrincipalState,
    ProjectCreation,
    authorize,
    granted_wire_actions,
)
from entrepot.server.access.decision.roles import BUILTIN_ROLES

ALICE = Principal(kind=PrincipalKind.USER, name="alice", id=1, epoch=1)
ROBOT = Principal(kind=PrincipalKind.ROBOT, name="acme+ci", id=2, epoch=1)
APP = Resource(repository="acme/app")
GOOD = AccessFacts(epoch=1, project_id=7, repository_id=70)


def grant(role: str, **more: object) -> Grant:
    return Grant(id=5, role=role, actions=BUILTIN_ROLES[role], **more)  # type: ignore[arg-type]


def bearer(*actions: str, project: int | None = 7, repository: int | None = 70) -> Principal:
    return replace(ALICE, scopes=(TokenScope("acme/app", frozenset(actions), project, repository),))


OWNED = replace(GOOD, grants=(grant("owner"),))
PUBLIC = replace(GOOD, visibility=Visibility.PUBLIC)
SIGNED_IN = replace(GOOD, visibility=Visibility.SIGNED_IN)
NOTHING = AccessFacts(epoch=1)
ADMIN = replace(GOOD, system_role=SystemRole.ADMIN)
AUDITOR = replace(GOOD, system_role=SystemRole.AUDITOR)

CASES = [
    ("grant allows", OWNED, ALICE, Action.PUSH, APP, "grant:5"),
    ("no grant", GOOD, ALICE, Action.PULL, APP, "!no-grant"),
    ("no project looks like no grant", NOTHING, ALICE, Action.PULL, APP, "!no-grant"),
    ("anonymous is asked to sign in", GOOD, ANONYMOUS, Action.PULL, APP, "?sign-in"),
    ("public pull", PUBLIC, ANONYMOUS, Action.PULL, APP, "visibility:public"),
    ("public push", PUBLIC, ALICE, Action.PUSH, APP, "!no-grant"),
    ("public does not mean deletable", PUBLIC, ANONYMOUS, Action.DELETE_TAG, APP, "?sign-in"),
    ("signed-in for users", SIGNED_IN, ALICE, Action.PULL, APP, "visibility:signed-in"),
    ("signed-in not for robots", SIGNED_IN, ROBOT, Action.PULL, APP, "!no-grant"),
    ("signed-in not for anonymous", SIGNED_IN, ANONYMOUS, Action.PULL, APP, "?sign-in"),
    ("admin", ADMIN, ALICE, Action.DELETE_PROJECT, APP, "system:admin"),
    ("auditor reads", AUDITOR, ALICE, Action.PULL, APP, "system:auditor"),
    ("auditor changes nothing", AUDITOR, ALICE, Action.DELETE_TAG, APP, "!no-grant"),
    (
        "disabled",
        replace(OWNED, state=PrincipalState.DISABLED),
        ALICE,
        Action.PULL,
        APP,
        "?principal-disabled",
    ),
    ("gone", replace(PUBLIC, state=PrincipalState.GONE), ALICE, Action.PULL, APP, "?principal-gone"),
    ("older than the epoch", replace(OWNED, epoch=2), ALICE, Action.PING, Resource(), "?principal-epoch"),
    ("token revoked", replace(OWNED, token_alive=False), ALICE, Action.PING, Resource(), "?token-revoked"),
    ("ping wants a sign-in", NOTHING, ANONYMOUS, Action.PING, Resource(), "?sign-in"),
    (
        "ping with an anonymous token",
        NOTHING,
        replace(ANONYMOUS, scopes=()),
        Action.PING,
        Resource(),
        "asking",
    ),
    ("search is open", NOTHING, ANONYMOUS, Action.SEARCH, Resource(), "search"),
    ("self", NOTHING, ALICE, Action.MANAGE_SELF, Resource(), "self"),
    ("self is nobody", NOTHING, ANONYMOUS, Action.MANAGE_SELF, Resource(), "?sign-in"),
    ("read-only stops an owner", replace(OWNED, read_only=True), ALICE, Action.PUSH, APP, "!read-only"),
    ("read-only lets read", replace(OWNED, read_only=True), ALICE, Action.PULL, APP, "grant:5"),
    ("scope holds", OWNED, bearer("pull"), Action.PULL, APP, "grant:5"),
    ("scope lacks", OWNED, bearer("pull"), Action.PUSH, APP, "?token-scope"),
    ("any scope reads", OWNED, bearer("push"), Action.READ, APP, "grant:5"),
    (
        "scope of another repository",
        OWNED,
        bearer("pull"),
        Action.PULL,
        Resource(repository="acme/b"),
        "?token-scope",
    ),
    ("another project by now", OWNED, bearer("pull", project=6), Action.PULL, APP, "?token-project"),
    ("another generation", OWNED, bearer("pull", repository=69), Action.PULL, APP, "?token-generation"),
    ("made since the token", OWNED, bearer("pull", repository=None), Action.PULL, APP, "grant:5"),
    ("revoked grant, token still good", GOOD, bearer("pull"), Action.PULL, APP, "!no-grant"),
    (
        "management needs more than a registry token",
        OWNED,
        bearer("pull"),
        Action.MANAGE_MEMBERS,
        APP,
        "?token-scope",
    ),
    ("create by push: not everybody", NOTHING, ALICE, Action.PUSH, APP, "!no-grant"),
    (
        "create by push: granted",
        replace(NOTHING, may_create_projects=True),
        ALICE,
        Action.PUSH,
        APP,
        "may-create-projects",
    ),
    (
        "create by push: signed-in",
        replace(NOTHING, project_creation=ProjectCreation.SIGNED_IN),
        ALICE,
        Action.PUSH,
        APP,
        "project-creation:signed-in",
    ),
    (
        "robots do not create",
        replace(NOTHING, project_creation=ProjectCreation.SIGNED_IN),
        ROBOT,
        Action.PUSH,
        APP,
        "!no-grant",
    ),
    (
        "may create does not mean may enter",
        replace(GOOD, may_create_projects=True),
        ALICE,
        Action.PUSH,
        APP,
        "!no-grant",
    ),
    (
        "narrowed token: action",
        replace(OWNED, narrowing=Narrowing(actions=frozenset({Action.PULL}))),
        ALICE,
        Action.PUSH,
        APP,
        "!token-actions",
    ),
    (
        "narrowed token: repository",
        replace(OWNED, narrowing=Narrowing(repositories=(RepositoryPattern("acme/other"),))),
        ALICE,
        Action.PULL,
        APP,
        "!token-repositories",
    ),
    (
        "an admin's narrowed token stays narrow",
        replace(ADMIN, narrowing=Narrowing(actions=frozenset({Action.PULL}))),
        ALICE,
        Action.DELETE_TAG,
        APP,
        "!token-actions",
    ),
    (
        "grant on a glob",
        replace(GOOD, grants=(grant("developer", repositories=RepositoryPattern("acme/app/**")),)),
        ALICE,
        Action.PUSH,
        Resource(repository="acme/app/web"),
        "grant:5",
    ),
    (
        "grant on another glob",
        replace(GOOD, grants=(grant("developer", repositories=RepositoryPattern("acme/web/**")),)),
        ALICE,
        Action.PUSH,
        APP,
        "!no-grant",
    ),
    (
        "tag pattern lets in",
        replace(GOOD, grants=(grant("developer", tags=TagPattern("v*")),)),
        ALICE,
        Action.CREATE_TAG,
        Resource(repository="acme/app", tag="v1"),
        "grant:5",
    ),
    (
        "tag pattern keeps out",
        replace(GOOD, grants=(grant("developer", tags=TagPattern("v*")),)),
        ALICE,
        Action.OVERWRITE_TAG,
        Resource(repository="acme/app", tag="latest"),
        "!no-grant",
    ),
]


@pytest.mark.parametrize(
    ("facts", "who", "action", "what", "outcome"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_first_rule_with_an_opinion_decides(
    facts: AccessFacts, who: Principal, action: Action, what: Resource, outcome: str
) -> None:
    decision = authorize(facts, who, action, what)
    expected = {"!": Ruling.DENIED, "?": Ruling.CHALLENGE}.get(outcome[0], Ruling.ALLOWED)
    assert (decision.rule, decision.answer) == (outcome.lstrip("!?"), expected)
    assert decision.allowed is (expected is Ruling.ALLOWED)
    assert decision.reason


def test_refusal_does_not_tell_hidden_from_absent() -> None:
    hidden = authorize(GOOD, ALICE, Action.PUSH, APP)
    absent = authorize(NOTHING, ALICE, Action.PUSH, APP)
    assert hidden == absent


def test_refusal_names_the_missing_action() -> None:
    assert "push" in authorize(GOOD, ALICE, Action.PUSH, APP).reason
    assert "push" in authorize(GOOD, bearer("pull"), Action.PUSH, APP).reason


def test_roles_grow_and_owner_holds_everything() -> None:
    ladder = [BUILTIN_ROLES[name] for name in ("viewer", "puller", "developer", "maintainer", "owner")]
    assert all(small < large for small, large in pairwise(ladder))
    assert ladder[-1] == PROJECT_ACTIONS


@pytest.mark.parametrize(
    ("role", "wanted", "granted"),
    [
        ("viewer", {"pull"}, {"read"}),
        ("puller", {"pull", "push"}, {"pull"}),
        ("developer", {"pull", "push"}, {"pull", "push"}),
        ("developer", {"*"}, {"pull", "push"}),
        ("maintainer", {"delete"}, {"delete"}),
        ("owner", {"*"}, {"pull", "push", "delete", "*"}),
    ],
)
def test_token_holds_what_the_role_has(role: str, wanted: set[str], granted: set[str]) -> None:
    facts = replace(GOOD, grants=(grant(role),))
    assert granted_wire_actions(facts, ALICE, "acme/app", frozenset(wanted)) == granted


def narrowed(
    role: str, repositories: str | None = None, tags: str | None = None, team: str | None = None
) -> Grant:
    return grant(
        role,
        repositories=parse_repository_pattern(repositories) if repositories else None,
        tags=parse_tag_pattern(tags) if tags else None,
        team=team,
    )


@pytest.mark.parametrize(
    ("grants", "said"),
    [
        ((), "no grant holds the action create-tag"),
        ((narrowed("puller"),), "the role puller does not hold it"),
        ((narrowed("viewer"), narrowed("puller")), "the roles viewer and puller do not hold it"),
        ((narrowed("developer", "acme/team/**"),), "the role developer is for acme/team/** alone"),
        ((narrowed("developer", tags="v*"),), "the role developer is for tags v* alone"),
        ((narrowed("developer", "acme/team/**", "v*"),), "the role developer is for acme/team/** alone"),
        (
            (narrowed("puller"), narrowed("developer", "acme/team/**"), narrowed("developer", tags="v*")),
            "the role developer is for tags v* alone",
        ),
        (
            (narrowed("puller"), narrowed("developer", "acme/team/**", team="dev")),
            "the role developer, through team dev, is for acme/team/** alone",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_says_what_came_nearest_to_allowing_it(grants: tuple[Grant, ...], said: str) -> None:
    asked = Resource(repository="acme/app", tag="latest")
    decision = authorize(replace(GOOD, grants=grants), ALICE, Action.CREATE_TAG, asked)
    assert decision.reason == f"alice may not create-tag on acme/app:latest: {said}"
