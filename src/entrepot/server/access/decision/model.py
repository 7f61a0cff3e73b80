"""The words of access: principals, actions, resources, decisions. Values only, no I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ANONYMOUS",
    "EVERY_TAG",
    "PROJECT_ACTIONS",
    "Action",
    "Decision",
    "Principal",
    "PrincipalKind",
    "Resource",
    "Ruling",
    "SystemRole",
    "TokenScope",
    "Visibility",
]


class Action(enum.StrEnum):
    """What somebody wants to do. Routes, roles and decisions name one of these."""

    PING = "ping"
    """Ask whether the registry is there and the credentials are good (`GET /v2/`)."""
    LIST = "list"
    """List repositories (`_catalog`); the answer holds what the caller may see."""
    SEARCH = "search"
    """Search; open to everybody because podman asks without credentials. Holds what the caller may see."""

    # On a repository (or on a project's repositories).
    READ = "read"
    """See that it exists: tags, sizes, README, history; no content."""
    PULL = "pull"
    """Read manifests, referrers and blobs."""
    PUSH = "push"
    """Upload blobs and manifests; needed before a tag can be set."""
    CREATE_TAG = "create-tag"
    """Give a name to a manifest where the name was free."""
    OVERWRITE_TAG = "overwrite-tag"
    """Move an existing tag to another manifest."""
    DELETE_TAG = "delete-tag"
    DELETE_MANIFEST = "delete-manifest"
    DELETE_BLOB = "delete-blob"
    CREATE_REPOSITORY = "create-repository"
    DELETE_REPOSITORY = "delete-repository"
    EDIT_REPOSITORY = "edit-repository"
    """README, description, labels."""
    RESTORE = "restore"
    """Bring back what was deleted or overwritten, within the undo window."""

    # On a project.
    READ_MEMBERS = "read-members"
    MANAGE_MEMBERS = "manage-members"
    MANAGE_ROBOTS = "manage-robots"
    MANAGE_PROJECT = "manage-project"
    """Visibility, quota, settings."""
    DELETE_PROJECT = "delete-project"
    READ_AUDIT = "read-audit"

    # On the whole registry.
    CREATE_PROJECT = "create-project"
    READ_SYSTEM = "read-system"
    """Users, jobs, storage, the audit log of everybody."""
    MANAGE_SYSTEM = "manage-system"
    """Users, teams, custom roles, sign-in sources, settings."""

    MANAGE_UPSTREAMS = "manage-upstreams"
    """Tell what other registries hold (their notifications)."""

    # On oneself.
    MANAGE_SELF = "manage-self"
    """Own password, own tokens, own stars."""


PROJECT_ACTIONS: Final = frozenset(
    {
        Action.READ,
        Action.PULL,
        Action.PUSH,
        Action.CREATE_TAG,
        Action.OVERWRITE_TAG,
        Action.DELETE_TAG,
        Action.DELETE_MANIFEST,
        Action.DELETE_BLOB,
        Action.CREATE_REPOSITORY,
        Action.DELETE_REPOSITORY,
        Action.EDIT_REPOSITORY,
        Action.RESTORE,
        Action.READ_MEMBERS,
        Action.MANAGE_MEMBERS,
        Action.MANAGE_ROBOTS,
        Action.MANAGE_PROJECT,
        Action.DELETE_PROJECT,
        Action.READ_AUDIT,
    }
)
"""The actions a role may hold."""


class PrincipalKind(enum.StrEnum):
    USER = "user"
    ROBOT = "robot"
    ANONYMOUS = "anonymous"
    OPEN = "open"
    """Whoever reaches a registry without accounts."""
    OPERATOR = "operator"
    """Whoever types `entrepot admin` on the server's own machine."""
    SYSTEM = "system"
    """The registry itself."""


class SystemRole(enum.StrEnum):
    ADMIN = "admin"
    """Everything."""
    AUDITOR = "auditor"
    """Reads everything, changes nothing."""


class Visibility(enum.StrEnum):
    """Who may pull from a project without a grant."""

    PRIVATE = "private"
    SIGNED_IN = "signed-in"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class TokenScope:
    """One repository a bearer token speaks for, as it was when the token was made."""

    repository: str
    """Its name; empty for the catalog (`registry:catalog:*`)."""
    actions: frozenset[str]
    """Wire actions: `read`, `pull`, `push`, `delete`."""
    project_id: int | None = None
    """None when the project did not exist yet."""
    repository_id: int | None = None
    """None when the repository did not exist yet. A repository deleted and made again has another id."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever makes a request, with everything that narrows what they may do in it."""

    kind: PrincipalKind
    name: str
    """Log-in name; empty for anonymous."""
    id: int = 0
    """Row id; 0 for anonymous and in open mode."""
    epoch: int = 0
    """Counts up whenever the principal's credentials are to stop working."""
    token_id: str | None = None
    """Public id of the personal access token or session it came with, for audit rows."""
    scopes: tuple[TokenScope, ...] | None = None
    """What a bearer token speaks for; None: not narrowed."""
    credential: str = "none"
    """How it signed in: none, password, token, robot, bearer, session, exchange."""

    entry: str = ""
    """Mark of the entry their sign-in source had when they signed in; empty: tied to none. Another one when
    the entry changes, and then it ends what was made by signing in, as another epoch does."""

    @property
    def is_anonymous(self) -> bool:
        return self.kind is PrincipalKind.ANONYMOUS

    def __str__(self) -> str:
        return self.name or self.kind.value


ANONYMOUS: Final = Principal(kind=PrincipalKind.ANONYMOUS, name="")


EVERY_TAG: Final = "*"
"""In place of a tag: all there are and will be. Of grants, only one that is not narrowed to tags fits it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What an action is about. All empty: the registry itself."""

    repository: str | None = None
    tag: str | None = None
    """A tag, a pattern of tags (all it stands for), or `EVERY_TAG`. None: which one is not known yet, so the
    question is whether there may be one; the change asks again, naming it.
    """
    project: str | None = None
    """Set for actions on a project; taken from the repository otherwise."""

    @property
    def project_name(self) -> str | None:
        if self.project is not None:
            return self.project
        return self.repository.partition("/")[0] if self.repository else None

    def __str__(self) -> str:
        if self.repository:
            named = self.tag and self.tag != EVERY_TAG
            return f"{self.repository}:{self.tag}" if named else self.repository
        return self.project or "the registry"


class Ruling(enum.StrEnum):
    """How a refusal is told on the wire."""

    ALLOWED = "allowed"
    CHALLENGE = "challenge"
    """401 with a challenge: other or more credentials may help."""
    DENIED = "denied"
    """403: these credentials will never do."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome, the rule that decided, and a sentence for people."""

    allowed: bool
    rule: str
    """Kebab-case name of the rule, with its subject: `grant:17`, `visibility:public`, `no-grant`."""
    reason: str
    answer: Ruling = Ruling.ALLOWED
    challenge_error: str | None = None
    """`invalid_token` or `insufficient_scope` for the challenge, when a bearer token was shown."""
