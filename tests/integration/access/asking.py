"""What is sent to each route of the golden table: something that works for whoever may do it.

Reading needs no more than the parameters of its path. A route that changes something is named here, by method
and path as the routing tables have them; one that is missing fails the table's test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.integration.access.people import Kind, World
from tests.unit.server.api.conftest import PASSWORD

__all__ = ["ASKED", "FORMS", "address"]

More = dict[str, Any]
Ask = Callable[[World, Kind], More]

_ANOTHER: Final = "another long password"
_API: Final = "/api/v1"
_REPOSITORY: Final = f"{_API}/repositories/{{repository:str}}"
_PROJECT: Final = f"{_API}/projects/{{project:str}}"
_ROBOT: Final = f"{_PROJECT}/robots/{{robot:str}}"


def address(pattern: str, world: World, kind: Kind) -> str:
    """The path with its parameters. Raises KeyError for one that nobody has thought of."""
    path = pattern.replace("[/]", "")
    values = {
        "{name}": kind.repository,
        "{reference}": kind.tag,
        "{tag}": kind.tag,
        "{subject}": kind.digest,
        "{upload}": kind.upload,
        "{digest}": kind.blob if "/blobs/" in path else kind.digest,
        "{repository:str}": kind.repository.replace("/", "%2F"),
        "{project:str}": kind.project,
        "{tag:str}": kind.tag,
        "{digest:str}": kind.digest,
        "{robot:str}": f"{kind.project}+ci" if "{project" in path else "acme+ci",
        "{user:str}": "root" if "tokens" in path or "revoke" in path else "viewer",
        "{token:str}": world.ids["pat"],
        "{team:str}": "devs",
        "{member:str}": "dev-v" if "{team" in path else "viewer",
        "{role:str}": "releaser",
        "{source:str}": "corp",
        "{provider:str}": "corp",
        "{registry:str}": "docker.test",
        "{grant:int}": str(kind.grant),
        "{rule:int}": str(kind.rule),
        "{version:str}/{name:str}": "0/style.css",
    }
    for mark, value in values.items():
        path = path.replace(mark, value)
    if "{" in path:
        raise KeyError(f"say here what stands for the parameter in {path}")
    return path


def _nothing(_world: World, _kind: Kind) -> More:
    return {}


def _json(**body: Any) -> Ask:
    return lambda _world, _kind: {"json": body}


ASKED: Final[dict[str, Ask]] = {
    # The data plane.
    "PUT /v2/{name}/manifests/{reference}": lambda _w, k: {
        "content": k.other,
        "headers": {"content-type": k.media_type},
    },
    "DELETE /v2/{name}/manifests/{digest}": _nothing,
    "DELETE /v2/{name}/manifests/{tag}": _nothing,
    "DELETE /v2/{name}/blobs/{digest}": _nothing,
    "POST /v2/{name}/blobs/uploads[/]": _nothing,
    "PATCH /v2/{name}/blobs/uploads/{upload}": lambda _w, _k: {"content": b"some bytes"},
    "PUT /v2/{name}/blobs/uploads/{upload}": lambda _w, _k: {
        "content": b"hello",
        "params": {"digest": "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
    },
    "DELETE /v2/{name}/blobs/uploads/{upload}": _nothing,
    # Projects.
    f"POST {_API}/projects": _json(name="fresh"),
    f"PATCH {_PROJECT}": _json(visibility="private"),
    f"DELETE {_PROJECT}": _nothing,
    f"POST {_PROJECT}/restore": _nothing,
    f"POST {_PROJECT}/grants": _json(principal="bystander", role="puller"),
    f"DELETE {_PROJECT}/grants/{{grant:int}}": _nothing,
    f"POST {_PROJECT}/robots": _json(name="fresh", role="puller"),
    f"PATCH {_ROBOT}": _json(description="changed"),
    f"DELETE {_ROBOT}": _nothing,
    f"POST {_ROBOT}/secret": _json(),
    f"POST {_ROBOT}/trusts": _json(issuer="https://gitlab.com", claims={"project_path": "another/one"}),
    f"DELETE {_ROBOT}/trusts/{{rule:int}}": _nothing,
    f"PUT {_PROJECT}/policy": _json(text=""),
    f"POST {_PROJECT}/policy/plan": _json(text=""),
    # Repositories.
    f"PATCH {_REPOSITORY}": _json(description="changed"),
    f"DELETE {_REPOSITORY}": _nothing,
    f"POST {_REPOSITORY}/restore": _nothing,
    f"PUT {_REPOSITORY}/star": _nothing,
    f"DELETE {_REPOSITORY}/star": _nothing,
    f"DELETE {_REPOSITORY}/tags/{{tag:str}}": _nothing,
    f"POST {_REPOSITORY}/tags/{{tag:str}}/restore": lambda _w, k: {"json": {"digest": k.digest}},
    f"DELETE {_REPOSITORY}/manifests/{{digest:str}}": _nothing,
    # Accounts.
    f"POST {_API}/users": _json(name="fresh"),
    f"PATCH {_API}/users/{{user:str}}": _json(display_name="changed"),
    f"DELETE {_API}/users/{{user:str}}": _nothing,
    f"POST {_API}/users/{{user:str}}/setup-link": _nothing,
    f"DELETE {_API}/users/{{user:str}}/tokens/{{token:str}}": _nothing,
    f"POST {_API}/robots": _json(name="fresh"),
    f"DELETE {_API}/robots/{{robot:str}}": _nothing,
    f"POST {_API}/teams": _json(name="fresh"),
    f"PATCH {_API}/teams/{{team:str}}": _json(description="changed"),
    f"DELETE {_API}/teams/{{team:str}}": _nothing,
    f"PUT {_API}/teams/{{team:str}}/members/{{member:str}}": _nothing,
    f"DELETE {_API}/teams/{{team:str}}/members/{{member:str}}": _nothing,
    f"POST {_API}/roles": _json(name="fresh", actions=["pull"]),
    f"PATCH {_API}/roles/{{role:str}}": _json(description="changed"),
    f"DELETE {_API}/roles/{{role:str}}": _nothing,
    # Oneself.
    f"PATCH {_API}/self": _json(display_name="changed"),
    f"PUT {_API}/self/password": _json(current=PASSWORD, new=_ANOTHER),
    f"POST {_API}/self/secret": _json(),
    f"POST {_API}/self/tokens": _json(name="fresh"),
    f"DELETE {_API}/self/tokens/{{token:str}}": _nothing,
    f"POST {_API}/session": _json(name="viewer", password=PASSWORD),
    f"DELETE {_API}/session": _nothing,
    f"POST {_API}/setup": _json(token="ent_set_" + "x" * 40, password=_ANOTHER),
    # The registry.
    f"PATCH {_API}/settings": _json(project_creation="admins"),
    f"PUT {_API}/policy": _json(text=""),
    f"POST {_API}/policy/plan": _json(text=""),
    f"POST {_API}/sources": lambda w, _k: {
        "json": {"name": "fresh", "kind": "htpasswd", "settings": {"path": w.htpasswd}}
    },
    f"PATCH {_API}/sources/{{source:str}}": _json(enabled=True),
    f"DELETE {_API}/sources/{{source:str}}": _nothing,
    f"POST {_API}/upstreams/{{registry:str}}/events": _json(events=[]),
    f"POST {_API}/pull-through": _json(project="fresh", url="registry.example.org"),
    f"PATCH {_API}/pull-through/{{project:str}}": _json(inside=True),
    f"DELETE {_API}/pull-through/{{project:str}}": _nothing,
    # Reading that needs to be told more.
    f"GET {_API}/explain": lambda _w, _k: {"params": {"user": "root", "action": "pull"}},
    "GET /repositories/{repository:str}/-/compare": lambda _w, k: {"params": {"from": k.tag, "to": k.tag}},
}


def _form(**fields: Any) -> Ask:
    return lambda _world, _kind: fields


FORMS: Final[dict[str, Ask]] = {
    "POST /sign-in": _form(name="viewer", password=PASSWORD),
    "POST /sign-out": _form(),
    "POST /setup": _form(token="ent_set_x", password=_ANOTHER, repeat=_ANOTHER),
    "POST /account": _form(display_name="changed"),
    "POST /account/password": _form(current=PASSWORD, new=_ANOTHER, repeat=_ANOTHER),
    "POST /account/sessions/end": lambda w, _k: {"session": w.ids["ses"]},
    "POST /account/tokens": _form(name="fresh", rights="pull"),
    "POST /account/tokens/revoke": lambda w, _k: {"token": w.ids["pat"]},
    "POST /admin/jobs": _form(kind="gc"),
    "POST /admin/pull-through": _form(name="fresh", url="registry.example.org"),
    "POST /admin/pull-through/{project:str}/remove": _form(),
    "POST /admin/policy": _form(text="", do="apply"),
    "POST /admin/policy/runs": _form(do="run"),
    "POST /admin/restore-project": _form(project="closed"),
    "POST /admin/roles": _form(name="fresh", actions=["pull"]),
    "POST /admin/roles/{role:str}/delete": _form(confirm="releaser"),
    "POST /admin/settings": _form(project_creation="admins"),
    "POST /admin/sources": lambda w, _k: {"name": "fresh", "kind": "htpasswd", "htpasswd.path": w.htpasswd},
    "POST /admin/sources/{source:str}": _form(what="remove"),
    "POST /admin/teams": _form(name="fresh"),
    "POST /admin/teams/{team:str}": _form(description="changed"),
    "POST /admin/teams/{team:str}/delete": _form(confirm="devs"),
    "POST /admin/teams/{team:str}/members": _form(name="viewer"),
    "POST /admin/teams/{team:str}/members/remove": _form(name="dev-v"),
    "POST /admin/users": _form(name="fresh"),
    "POST /admin/users/{user:str}": _form(display_name="changed", enabled="yes"),
    "POST /admin/users/{user:str}/delete": _form(confirm="viewer"),
    "POST /admin/users/{user:str}/link": _form(),
    "POST /admin/users/{user:str}/revoke": lambda w, _k: {"token": w.ids["pat"]},
    "POST /new-project": _form(name="fresh", visibility="private"),
    "POST /projects/{project:str}/delete": lambda _w, k: {"name": k.project},
    "POST /projects/{project:str}/members": _form(kind="user", name="stranger", role="puller"),
    "POST /projects/{project:str}/members/remove": lambda _w, k: {"grant": str(k.grant)},
    "POST /projects/{project:str}/policy": _form(text="", do="apply"),
    "POST /projects/{project:str}/restore-repository": lambda _w, k: {"repository": f"{k.project}/gone"},
    "POST /projects/{project:str}/robots": _form(name="fresh", role="puller"),
    "POST /projects/{project:str}/robots/{robot:str}": _form(description="changed", enabled="yes"),
    "POST /projects/{project:str}/robots/{robot:str}/delete": lambda _w, k: {"confirm": f"{k.project}+ci"},
    "POST /projects/{project:str}/robots/{robot:str}/secret": _form(),
    "POST /projects/{project:str}/robots/{robot:str}/trusts": _form(
        issuer="https://gitlab.com", claims="project_path = another/one"
    ),
    "POST /projects/{project:str}/robots/{robot:str}/trusts/remove": lambda _w, k: {"rule": str(k.rule)},
    "POST /projects/{project:str}/settings": _form(visibility="private"),
    "POST /repositories/{repository:str}/-/delete": lambda _w, k: {"name": k.repository},
    "POST /repositories/{repository:str}/-/delete-tags": lambda _w, k: {"tag": [k.tag]},
    "POST /repositories/{repository:str}/-/restore-tag": lambda _w, k: {"tag": k.tag, "digest": k.digest},
    "POST /repositories/{repository:str}/-/settings": _form(description="changed", version="0"),
    "POST /repositories/{repository:str}/-/star": _form(star="yes"),
    "POST /repositories/{repository:str}/-/undo": _form(**{"from": "1", "to": "2"}),
}
