"""Whom the golden table asks as, and about what: roles, kinds of repositories, and what stands in them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from entrepot.server.access.directory.accounts import get_account
from entrepot.server.access.directory.grants import add_grant, list_grants
from entrepot.server.access.directory.projects import get_project
from entrepot.server.access.directory.role_table import create_role
from entrepot.server.access.directory.teams import add_member, create_team
from entrepot.server.access.sign_in.source_table import add_source
from entrepot.server.access.sign_in.workload import add_rule
from entrepot.server.db.tables.access import access_token, principal
from tests.unit.server.api.conftest import BASE, Registry
from tests.unit.server.pages.conftest import Person, visit

__all__ = ["ROLES", "Kind", "World", "build_world"]

ROLES: Final = {
    "nobody": "without credentials",
    "anon": "with an anonymous bearer token for the repository and the catalog",
    "strangr": "a user without any grant",
    "viewer": "a user with that role in the project",
    "puller": "likewise",
    "dev": "likewise: developer",
    "dev-v": "developer for tags v*",
    "mnt-v": "maintainer for tags v*",
    "mnt": "maintainer",
    "owner": "owner",
    "robot": "a robot of the project, developer",
    "+robot": "a robot of the registry, without grants",
    "auditor": "a user with that role in the registry",
    "root": "an admin, in person",
    "roottok": "an admin's personal access token",
    "rootlow": "an admin's token narrowed to pulling",
    "bearer": "an owner's bearer token to pull from the private repository",
}
"""Columns. Grants are in the projects of `private`, `latest`, `deleted` and `new`."""

_USERS: Final = {
    "strangr": "stranger",
    "dev": "developer",
    "mnt": "maintainer",
    **{name: name for name in ("viewer", "puller", "dev-v", "mnt-v", "owner", "auditor", "root")},
}


@dataclass(frozen=True)
class Kind:
    """A row: a repository, one of its tags, and what belongs to its project."""

    name: str
    repository: str
    tag: str = "v1"
    other: bytes = b""
    """A manifest that the tag does not point to; its own where there is no other."""
    media_type: str = "application/vnd.oci.image.manifest.v1+json"
    digest: str = "sha256:" + "0" * 64
    blob: str = "sha256:" + "0" * 64
    upload: str = ""
    grant: int = 999_999
    rule: int = 999_999

    @property
    def project(self) -> str:
        return self.repository.partition("/")[0]


@dataclass
class World:
    """A registry with everything in it that a request of the table may be about."""

    registry: Registry
    kinds: dict[str, Kind]
    htpasswd: str
    tokens: dict[str, str]
    """Bearer credentials by role, and `anon`."""
    ids: dict[str, str]
    """Public ids of root's token and session, by kind."""
    people: dict[str, Person] = field(default_factory=dict)

    def headers(self, role: str) -> dict[str, str]:
        """What a program sends."""
        if role in self.tokens:
            return {"authorization": f"Bearer {self.tokens[role]}"}
        name = {"robot": "acme+ci", "+robot": "+events"}.get(role) or _USERS.get(role)
        if name is None:
            return {}
        pair = f"{name}:{self.registry.secrets[name]}"
        return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    def basic(self, role: str) -> dict[str, str]:
        """What is shown to the token service: a personal access token is a password there."""
        if role not in {"roottok", "rootlow"}:
            return self.headers(role)
        pair = f"root:{self.tokens[role]}"
        return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    def browser(self, role: str) -> tuple[dict[str, str], str]:
        """What a browser sends, and the token of its forms. Who has no session shows what programs show."""
        person = self.people[role]
        headers = {"origin": BASE, "sec-fetch-site": "same-origin", **person.cookies()}
        return (headers if person.session else {**headers, **self.headers(role)}), person.token


async def build_world(registry: Registry, folder: Path) -> World:
    """`registry` is the team of the management tests."""
    read = registry.services.catalog.read
    acme = await read(lambda c: get_project(c, "acme").id)
    for name, role in (("dev-v", "developer"), ("mnt-v", "maintainer")):
        await registry.grant(await registry.user(name), acme, role, tags="v*")
    await registry.project("closed")
    kinds = {}
    for kind, repository, tag in (
        ("private", "acme/app", "v1"),
        ("latest", "acme/app", "latest"),
        ("public", "open/app", "v1"),
        ("signed-in", "staff/app", "v1"),
        ("deleted", "acme/gone", "v1"),
        ("closed", "closed/app", "v1"),
    ):
        image = await registry.push(repository, tag, files={kind: kind.encode()})
        begun = await registry.call("POST", f"/v2/{repository}/blobs/uploads/", "root")
        kinds[kind] = Kind(
            kind,
            repository,
            tag,
            other=image.manifest,
            media_type=image.media_type,
            digest=image.digest,
            blob=min(image.blobs),
            upload=begun.headers["location"].rpartition("/")[2],
        )
    private, latest = kinds["private"], kinds["latest"]
    kinds["private"] = replace(private, other=latest.other)
    kinds["latest"] = replace(latest, other=private.other)
    for kind, repository in (("new", "acme/new"), ("absent", "absent/app")):
        kinds[kind] = Kind(kind, repository, other=private.other, upload=private.upload)
    await _more_people(registry, acme, folder)
    for kind in ("private", "latest", "public", "signed-in"):
        kinds[kind] = await _numbered(registry, kinds[kind])
    await registry.api("DELETE", "/repositories/acme%2Fgone", "root")
    await registry.api("DELETE", "/projects/closed", "root")
    root = await read(get_account, "root")
    catalog = "registry:catalog:*"
    every = " ".join(f"repository:{one.repository}:pull,push,delete" for one in kinds.values())
    tokens = {
        "roottok": await registry.token(root),
        "rootlow": await registry.token(root, actions=["pull"]),
        "anon": await registry.bearer(f"{every} {catalog}"),
        "bearer": await registry.bearer("repository:acme/app:pull", "owner"),
    }
    people = {role: await visit(registry, _USERS.get(role)) for role in ROLES}
    return World(registry, kinds, str(folder / "htpasswd"), tokens, await read(_token_ids), people)


async def _more_people(registry: Registry, acme: int, folder: Path) -> None:
    read, write = registry.services.catalog.read, registry.write
    await registry.robot("+events")
    for project in ("open", "staff"):
        await registry.robot(f"{project}+ci")
    devs = await write(create_team, name="devs")
    bystander = await registry.user("bystander")
    await write(add_member, devs, (await read(get_account, "dev-v")).id, "dev-v")
    await write(add_grant, project_id=acme, role_name="viewer", team_id=devs.id)
    await write(create_role, name="releaser", actions=["push"])
    (folder / "htpasswd").write_text("")
    seal = registry.services.access.seal  # type: ignore[attr-defined]
    settings = {"path": str(folder / "htpasswd")}
    await write(add_source, seal, name="corp", kind="htpasswd", settings=settings)
    for project in ("open", "staff"):
        number = await read(lambda c, project=project: get_project(c, project).id)
        await registry.grant(bystander, number, "viewer")


async def _numbered(registry: Registry, kind: Kind) -> Kind:
    """With a grant and a rule of trust of its project."""
    read = registry.services.catalog.read
    project = await read(lambda c: get_project(c, kind.project).id)
    grants = await read(lambda c: list_grants(c, project_id=project))
    robot = await read(get_account, f"{kind.project}+ci")
    rule = await registry.write(
        add_rule,
        robot_id=robot.id,
        issuer="https://gitlab.com",
        audience="entrepot",
        claims={"project_path": f"{kind.repository}:{kind.tag}"},
    )
    return replace(kind, grant=grants[0].id, rule=rule)


def _token_ids(connection: Any) -> dict[str, str]:
    """Root's: `pat` and `ses`."""
    rows = connection.execute(
        select(access_token.c.kind, access_token.c.id)
        .join(principal, principal.c.id == access_token.c.principal_id)
        .where(principal.c.name == "root")
    )
    return dict([tuple(row) for row in rows])
