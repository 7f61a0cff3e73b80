"""What the management API takes and gives. Times are RFC 3339 in UTC, sizes are bytes.

The file is long because it is the whole contract with its clients: values, and hardly any code.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from entrepot.errors import InvalidInput

__all__: list[str] = []

Name = Annotated[str, Meta(max_length=255, examples=["acme"])]
RepositoryText = Annotated[str, Meta(max_length=255, examples=["acme/app"])]
Text = Annotated[str, Meta(max_length=1000)]
Pattern = Annotated[str, Meta(max_length=255, examples=["acme/app/**"])]
TagGlob = Annotated[str, Meta(max_length=128, examples=["v*"])]
Password = Annotated[str, Meta(max_length=1024, examples=["correct horse battery"])]
VisibilityName = Literal["private", "signed-in", "public"]
SystemRoleName = Literal["admin", "auditor"]
ByteCount = Annotated[int, Meta(ge=0, le=2**62)]


def when(microseconds: int | None) -> datetime | None:
    """From the catalog's microseconds."""
    return None if microseconds is None else at(microseconds)


def at(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC)


def microseconds(moment: datetime | None) -> int | None:
    """Raises InvalidInput for a time that has no year in UTC: nobody could be shown it."""
    if moment is None:
        return None
    try:
        aware = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise InvalidInput("the time is outside of the years 1 to 9999") from None
    return round(aware.timestamp() * 1_000_000)


def given(data: msgspec.Struct) -> dict[str, Any]:
    """What a client sent of a change, without what it left out."""
    return {key: value for key, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}


class Struct(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused: a misspelt one would be silently ignored otherwise."""


class Given(Struct):
    """What a client sends. Texts with a NUL are refused: not every database keeps them."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if _holds_nul(getattr(self, name)):
                raise ValueError(f"{name} holds a NUL; leave it out")


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(map(_holds_nul, value))


class ServerInfo(Struct):
    name: Annotated[str, Meta(examples=["entrepot"])]
    version: str
    mode: Literal["open", "accounts"]


# --- projects and grants


class ProjectView(Struct):
    name: Name
    visibility: VisibilityName
    kind: str
    usage_bytes: int | None
    """This and `repositories` are null to those who may see only a part of the project."""
    quota_bytes: int | None
    repositories: int | None
    created_at: datetime
    created_by: str | None


class NewProject(Given):
    name: Name
    visibility: VisibilityName = "private"
    quota_bytes: ByteCount | None = None


class ProjectChange(Given):
    visibility: VisibilityName | UnsetType = UNSET
    quota_bytes: ByteCount | UnsetType | None = UNSET


class GrantView(Struct):
    id: int
    project: str
    principal: str | None
    principal_kind: str | None
    team: str | None
    role: str
    repositories: str | None
    tags: str | None
    created_at: datetime
    created_by: str


class NewGrant(Given):
    """For a user or robot (`principal`), or a team."""

    role: Annotated[str, Meta(max_length=64, examples=["developer"])]
    principal: Annotated[str, Meta(max_length=255, examples=["alice"])] | None = None
    team: Annotated[str, Meta(max_length=64, examples=["devs"])] | None = None
    repositories: Pattern | None = None
    tags: TagGlob | None = None


# --- accounts


class AccountView(Struct):
    name: str
    kind: Literal["user", "robot"]
    display_name: str
    email: str
    description: str
    source: str
    enabled: bool
    system_role: str | None
    may_create_projects: bool
    has_password: bool
    expires_at: datetime | None
    created_at: datetime
    created_by: str | None
    last_used_at: datetime | None


class NewUser(Given):
    """Without a password they choose it themselves, with a set-up link."""

    name: Annotated[str, Meta(max_length=128, examples=["alice"])]
    password: Password | None = None
    display_name: Text = ""
    email: Text = ""
    system_role: SystemRoleName | None = None
    may_create_projects: bool = False


class UserChange(Given):
    display_name: Text | UnsetType = UNSET
    email: Text | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    system_role: SystemRoleName | UnsetType | None = UNSET
    may_create_projects: bool | UnsetType = UNSET


class SelfChange(Given):
    display_name: Text | UnsetType = UNSET
    email: Text | UnsetType = UNSET


class PasswordChange(Given):
    current: Password
    new: Password


class SetupLink(Struct):
    url: str
    """Works once, for a day."""


class NewRobot(Given):
    name: Annotated[str, Meta(max_length=64, examples=["ci"])]
    """Without the project."""
    description: Text = ""
    expires_at: datetime | None = None
    role: Annotated[str, Meta(max_length=64, examples=["developer"])] | None = None
    """A role in its project."""
    repositories: Pattern | None = None
    tags: TagGlob | None = None


class RobotChange(Given):
    description: Text | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET


class RobotSecret(Struct):
    robot: AccountView
    secret: str
    """Shown this once."""


class Rotation(Given):
    overlap_seconds: Annotated[int, Meta(ge=0, le=30 * 86400)] = 0
    """How long the old secret works on."""


class TokenView(Struct):
    id: str
    name: str
    owner: str
    actions: list[str] | None
    repositories: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_address: str | None


class NewToken(Given):
    name: Annotated[str, Meta(max_length=200, examples=["laptop"])] = ""
    actions: (
        Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=50, examples=[["pull"]])] | None
    ) = None
    """Null: all that its owner may."""
    repositories: Annotated[list[Pattern], Meta(max_length=50)] | None = None
    expires_at: datetime | None = None


class TokenSecret(Struct):
    token: TokenView
    secret: str
    """Shown this once."""


class TrustRule(Struct):
    id: int
    robot: str
    issuer: str
    audience: str
    claims: dict[str, str]


class NewTrustRule(Given):
    issuer: Annotated[str, Meta(max_length=500, examples=["https://token.actions.githubusercontent.com"])]
    claims: Annotated[dict[str, str], Meta(max_length=20, examples=[{"repository": "acme/app"}])]
    audience: Annotated[str, Meta(max_length=200)] = "entrepot"


class TeamView(Struct):
    name: str
    description: str
    external_group: str | None
    created_at: datetime


class NewTeam(Given):
    name: Annotated[str, Meta(max_length=64, examples=["devs"])]
    description: Text = ""
    external_group: Annotated[str, Meta(max_length=300, examples=["corp:developers"])] | None = None


class TeamChange(Given):
    description: Text | UnsetType = UNSET
    external_group: Annotated[str, Meta(max_length=300)] | UnsetType | None = UNSET


class MemberView(Struct):
    name: str
    kind: str
    source: str
    added_at: datetime


class RoleView(Struct):
    name: str
    description: str
    actions: list[str]
    builtin: bool


class NewRole(Given):
    name: Annotated[str, Meta(max_length=64, examples=["releaser"])]
    actions: Annotated[
        list[Annotated[str, Meta(max_length=64)]],
        Meta(max_length=50, examples=[["pull", "push", "create-tag"]]),
    ]
    description: Text = ""


class RoleChange(Given):
    actions: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=50)] | UnsetType = UNSET
    description: Text | UnsetType = UNSET


# --- signing in


class SignIn(Given):
    name: Annotated[str, Meta(max_length=255, examples=["alice"])]
    password: Password


class Setup(Given):
    token: Annotated[str, Meta(max_length=200)]
    password: Password


class SessionView(Struct):
    name: str
    kind: str
    signed_in: bool
    csrf_token: str | None
    """Send it as X-CSRF-Token with changing requests that carry the cookie."""


class ProviderView(Struct):
    name: str
    title: str
    url: str


class SourceView(Struct):
    name: str
    kind: str
    enabled: bool
    settings: dict[str, Any]


class NewSource(Given):
    name: Annotated[str, Meta(max_length=64, examples=["corp"])]
    kind: Literal["htpasswd", "ldap", "oidc"]
    settings: Annotated[
        dict[str, Any],
        Meta(max_length=30, examples=[{"issuer": "https://id.example.org", "client_id": "entrepot"}]),
    ]
    secret: Annotated[str, Meta(max_length=1000)] | None = None


class SourceChange(Given):
    enabled: bool


# --- pulling through

UpstreamUrl = Annotated[str, Meta(max_length=500, examples=["docker.io"])]
Patterns = Annotated[list[Pattern], Meta(max_length=100)]


class NewUpstream(Given):
    project: Name
    url: UpstreamUrl
    visibility: VisibilityName | None = None
    username: Annotated[str, Meta(max_length=255)] | None = None
    password: Annotated[str, Meta(max_length=4096)] | None = None
    inside: bool = False
    whole: bool = False
    allow: Patterns = msgspec.field(default_factory=list)
    deny: Patterns = msgspec.field(default_factory=list)


class UpstreamChange(Given):
    username: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET
    password: Annotated[str, Meta(max_length=4096)] | UnsetType | None = UNSET
    inside: bool | UnsetType = UNSET
    whole: bool | UnsetType = UNSET
    allow: Patterns | UnsetType = UNSET
    deny: Patterns | UnsetType = UNSET


class BudgetView(Struct):
    limit: int | None
    remaining: int
    window_s: int | None


class UpstreamView(Struct):
    project: str
    url: str
    registry: str
    username: str | None
    visibility: VisibilityName
    inside: bool
    whole: bool
    allow: list[str]
    deny: list[str]
    usage_bytes: int
    created_at: datetime
    asked_at: datetime | None
    failure: str | None
    budget: BudgetView | None


class SnippetView(Struct):
    client: str
    where: str
    text: str


class SettingsView(Struct):
    project_creation: Literal["admins", "signed-in"]
    read_only: bool


class SettingsChange(Given):
    project_creation: Literal["admins", "signed-in"] | UnsetType = UNSET
    read_only: bool | UnsetType = UNSET


# --- content


class RepositoryView(Struct):
    name: RepositoryText
    project: str
    description: str
    labels: list[str]
    tags: int
    stars: int
    pulls: int
    created_at: datetime
    pushed_at: datetime | None


class RepositoryDetail(RepositoryView):
    readme: str
    """Markdown, as it was written."""
    size_bytes: int
    """Manifests and blobs, each digest once."""
    shared_bytes: int
    """Of these, blobs that other repositories hold too."""
    starred: bool
    version: int
    """Of description, README and labels; for If-Match."""


class RepositoryChange(Given):
    description: Annotated[str, Meta(max_length=300)] | UnsetType = UNSET
    readme: Annotated[str, Meta(max_length=100_000)] | UnsetType = UNSET
    labels: (
        Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=50, examples=[["base"]])]
        | UnsetType
    ) = UNSET


class TagView(Struct):
    name: str
    digest: str
    media_type: str
    artifact_type: str | None
    size_bytes: int
    """With everything it refers to, each digest once."""
    platforms: list[str]
    created_at: datetime
    updated_at: datetime
    updated_by: str
    pulls: int
    pulled_at: datetime | None


class TagDetail(TagView):
    unique_bytes: int
    """What nothing else in the registry needs: freed when this tag goes and nothing else refers to it."""
    shared_bytes: int


class TagEventView(Struct):
    number: int
    tag: str
    old: str | None
    new: str | None
    at: datetime
    by: str
    restored: bool
    """Put back, not pushed."""


class RestoreTag(Given):
    """To a digest, or to what it was at a time; neither: to what it was before its last move."""

    digest: Annotated[str, Meta(max_length=200)] | None = None
    at: datetime | None = None


class LayerView(Struct):
    digest: str
    media_type: str
    size_bytes: int
    command: str | None
    """What made it, from the image's history."""


class PlatformView(Struct):
    digest: str
    platform: str | None
    size_bytes: int
    media_type: str


class ReferrerView(Struct):
    digest: str
    artifact_type: str | None
    size_bytes: int
    annotations: dict[str, str]


class ManifestView(Struct):
    digest: str
    media_type: str
    artifact_type: str | None
    size_bytes: int
    total_bytes: int
    pushed_at: datetime
    pushed_by: str
    tags: list[str]


class ManifestDetail(ManifestView):
    raw: str
    """The manifest's text."""
    platforms: list[PlatformView]
    """Of an index."""
    layers: list[LayerView]
    config_digest: str | None
    config: dict[str, Any] | None
    """The image's configuration."""
    referrers: list[ReferrerView]


class FileView(Struct):
    path: str
    """Absolute, a folder with `/` behind it; what is no text, or would turn it around, is written out."""
    path_hex: str
    """The path as it is, in hexadecimal digits: names in images need not be UTF-8."""
    kind: str
    mode: str
    """As `ls -l` prints it."""
    uid: int
    gid: int
    size: int
    """Of a folder: of all files below it."""
    modified: int
    """Seconds since 1970."""
    link: str
    sha256: str | None
    """Of a file's content; null for everything else."""
    layer: int
    """Number of the layer that spoke of it last, from 1."""
    brought_by: int
    hidden_by: int | None
    """The layer that removed it; null for what is there."""


class FilesSummary(Struct):
    size: int
    files: int
    layer_sizes: list[int]
    """Bytes of each layer's files, lowest first."""
    wasted_bytes: int
    """Of files that more than one layer has, or that a later layer removes."""
    efficiency: float


class SearchResultView(Struct):
    kind: Literal["repository", "tag", "digest", "upstream"]
    name: str
    description: str
    digest: str | None
    registry: str | None
    """The other registry, for what lives there."""


class LabelCount(Struct):
    label: str
    repositories: int


class AuditRow(Struct):
    number: int
    at: datetime
    principal: str
    principal_kind: str
    token_id: str | None
    address: str | None
    request_id: str | None
    action: str
    repository: str | None
    tag: str | None
    old: str | None
    new: str | None
    detail: dict[str, Any] | None


class ExplanationView(Struct):
    user: str
    action: str
    where: str
    allowed: bool
    rule: str
    reason: str
    steps: list[str]


class UndoableView(Struct):
    kind: Literal["project", "repository", "tag-deleted", "tag-overwritten"]
    name: str
    digest: str | None
    at: datetime
    by: str | None


class UpstreamRepository(Struct):
    registry: str
    name: str
    tags: list[str]
    pulls: int
    pushed_at: datetime | None
