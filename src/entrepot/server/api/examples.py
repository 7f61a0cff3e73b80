"""An example for every parameter, body and answer in the API's description: what a reader looks at first.

One table of values by name, since a name means the same everywhere in this API; what a schema says itself
(examples, defaults, enumerations) comes first.
"""

from __future__ import annotations

from typing import Any, Final

from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin

__all__ = ["DescriptionWithExamples", "add_examples"]

_DIGEST: Final = "sha256:d40cec753ffb6f3a6b1ae6f1c8c5b3b2a4e8f0d1c2b3a4958677685940312233"
_MOMENT: Final = "2026-10-01T12:00:00Z"
_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
BY_NAME: Final[dict[str, Any]] = {
    "action": "push", "actions": ["pull", "push", "create-tag"], "added_at": _MOMENT, "address": "192.0.2.7",
    "annotations": {"org.opencontainers.image.version": "1.0"}, "artifact_type": None, "audience": "entrepot",
    "by": "alice", "claims": {"repository": "acme/app"}, "code": "SplxlOBeZQQYbYS6WxSbIA",
    "command": "COPY app /app", "config": {"os": "linux", "architecture": "amd64"}, "config_digest": _DIGEST,
    "contains": "v1", "created_by": "alice", "csrf_token": "6e1d…", "description": "The shop's front end",
    "detail": {"from": "acme/base"}, "digest": _DIGEST, "display_name": "Alice Doe",
    "email": "alice@example.org", "external_group": "corp:developers", "fields": {}, "grant": 7, "id": 7,
    "issuer": "https://token.actions.githubusercontent.com", "label": "web", "labels": ["web"],
    "last_address": "192.0.2.7", "member": "alice", "media_type": _TYPE, "new": _DIGEST, "next": None,
    "number": 4711, "old": None, "owner": "alice", "platform": "linux/amd64", "platforms": ["linux/amd64"],
    "principal": "alice", "project": "acme", "provider": "corp", "pulls": 1042, "pushed_by": "acme+ci",
    "q": "app:v1", "raw": "{\"schemaVersion\":2}", "readme": "# App", "reason": "acme is public",
    "registry": "old.example.org", "repositories": 3, "repository": "acme/app", "request_id": "4d2beab5-c967",
    "robot": "ci", "role": "developer", "restored": False, "rule": 3, "secret": "ent_pat_…",
    "size_bytes": 31_457_280, "shared_bytes": 29_360_128, "source": "local", "stars": 5,
    "state": "af0ifjsldkj", "steps": ["alice is a user, active", "project acme is public"],
    "tag": "v1", "tags": ["v1"],
    "team": "devs", "title": "Example ID", "token": "k3v9s2m4p8q1", "token_id": "k3v9s2m4p8q1",
    "total_bytes": 31_457_280, "unique_bytes": 2_097_152, "updated_by": "alice",
    "url": "https://registry.example.org/setup?token=ent_set_…", "usage_bytes": 31_457_280, "user": "alice",
    "version": 1, "where": "acme/app", "settings": {"path": "/etc/entrepot/htpasswd"}, "name": "acme",
    "kind": "user", "principal_kind": "user",
}  # fmt: skip
_BY_TYPE: Final[dict[str, Any]] = {
    "integer": 1, "number": 1, "boolean": False, "string": "text", "array": [], "object": {}, "null": None,
}  # fmt: skip
_METHODS: Final = ("get", "post", "put", "patch", "delete")


class DescriptionWithExamples(JsonRenderPlugin):
    """The description as JSON, with examples."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, add_examples(openapi_schema))


def add_examples(document: dict[str, Any]) -> dict[str, Any]:
    """Fill in what has none, in place."""
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for method in _METHODS:
            operation = path.get(method)
            if operation is None:
                continue
            for parameter in operation.get("parameters", ()):
                if not parameter.get("examples"):
                    parameter.setdefault("example", _value(parameter["schema"], schemas, parameter["name"]))
            holders = [operation.get("requestBody") or {}, *operation["responses"].values()]
            for holder in holders:
                for content in (holder.get("content") or {}).values():
                    if "schema" in content and not content.get("examples"):
                        content.setdefault("example", _value(content["schema"], schemas, ""))
    return document


def _value(schema: dict[str, Any], schemas: dict[str, Any], name: str) -> Any:
    """An example that the schema allows."""
    if "$ref" in schema:
        return _value(schemas[schema["$ref"].rpartition("/")[2]], schemas, name)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("example", "const", "default"):
        if key in schema and schema[key] not in ("", None):
            return schema[key]
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        return _choice(choices, schemas, name)
    kind = schema.get("type")
    if kind == "object" and schema.get("properties"):
        return {key: _value(inner, schemas, key) for key, inner in schema["properties"].items()}
    items = schema.get("items") or {}
    if "$ref" in items:
        return [_value(items, schemas, "")]
    if name in BY_NAME and _fits(BY_NAME[name], kind):
        return BY_NAME[name]
    if kind == "array":
        return [_value(items, schemas, "")] if items else []
    if schema.get("format") == "date-time":
        return _MOMENT
    return max(schema.get("minimum", 1), 1) if kind in {"integer", "number"} else _BY_TYPE.get(str(kind))


def _choice(choices: list[dict[str, Any]], schemas: dict[str, Any], name: str) -> Any:
    """Of several kinds the one the table's value is of, else the first that is something."""
    if name in BY_NAME and any(_fits(BY_NAME[name], choice.get("type")) for choice in choices):
        return BY_NAME[name]
    some = [choice for choice in choices if choice.get("type") != "null"]
    return _value((some or choices)[0], schemas, name)


def _fits(value: Any, kind: Any) -> bool:
    if value is None:
        return str(kind) == "null"
    kinds: dict[str, type] = {"string": str, "integer": int, "array": list, "object": dict, "boolean": bool}
    wanted = kinds.get(str(kind))
    return wanted is not None and isinstance(value, wanted) and not (wanted is int and value is True)
