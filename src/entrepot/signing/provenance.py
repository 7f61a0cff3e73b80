"""Who built something, from what: SLSA provenance 0.2 and 1, in one shape.

What it says is worth what its signature is worth; nothing of it is checked here but the types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entrepot.signing.dsse import Statement

V02 = ("https://slsa.dev/provenance/v0.1", "https://slsa.dev/provenance/v0.2")
V1 = "https://slsa.dev/provenance/v1"
_BUILDKIT_02 = "https://mobyproject.org/buildkit@v1#metadata"
MAX_TEXT = 2048
MAX_DEPENDENCIES = 1000


@dataclass(frozen=True, slots=True)
class Provenance:
    """Empty texts where the builder did not say."""

    builder: str
    build_type: str
    source: str
    """URL of the repository, without `git+`, reference and `.git`."""
    reference: str
    """Branch or tag, as `refs/heads/main`."""
    commit: str
    parameters: Mapping[str, Any]
    """What the caller of the build could choose."""
    materials: tuple[str, ...]
    """What went in: URIs, with `@algorithm:digest` where one is said."""
    invocation: str = ""
    started: str = ""
    finished: str = ""


def read_provenance(statement: Statement) -> Provenance | None:
    """None when the statement is about something else than how a thing was built."""
    if statement.predicate_type == V1:
        return _version_1(statement.predicate)
    if statement.predicate_type in V02:
        return _version_02(statement.predicate)
    return None


def _version_1(predicate: Mapping[str, Any]) -> Provenance:
    definition, run = _object(predicate, "buildDefinition"), _object(predicate, "runDetails")
    external, metadata = _object(definition, "externalParameters"), _object(run, "metadata")
    dependencies = _objects(definition, "resolvedDependencies")
    workflow, config = _object(external, "workflow"), _object(external, "configSource")
    vcs = _object(_object(metadata, "buildkit_metadata"), "vcs")
    uri = _first(
        _text(vcs, "source"),
        _text(workflow, "repository"),
        _text(config, "uri"),
        _text(external, "source") or _text(_object(external, "source"), "uri"),
        *(_text(one, "uri") for one in dependencies if _commit(_object(one, "digest"))),
    )
    source, reference = split_source(uri)
    of_source = [one for one in dependencies if split_source(_text(one, "uri"))[0] == source and source]
    commits = [_commit(_object(one, "digest")) for one in of_source]
    return Provenance(
        builder=_text(_object(run, "builder"), "id"),
        build_type=_text(definition, "buildType"),
        source=source,
        reference=_first(_text(workflow, "ref"), reference, *_references(of_source)),
        commit=_first(_text(vcs, "revision"), _commit(_object(config, "digest")), *commits),
        parameters=external,
        materials=tuple(_material(one) for one in dependencies),
        invocation=_first(_text(metadata, "invocationId"), _text(metadata, "invocationID")),
        started=_text(metadata, "startedOn"),
        finished=_text(metadata, "finishedOn"),
    )


def _version_02(predicate: Mapping[str, Any]) -> Provenance:
    invocation, metadata = _object(predicate, "invocation"), _object(predicate, "metadata")
    config = _object(invocation, "configSource")
    materials = _objects(predicate, "materials")
    vcs = _object(_object(metadata, _BUILDKIT_02), "vcs")
    uri = _first(
        _text(vcs, "source"),
        _text(config, "uri"),
        *(_text(one, "uri") for one in materials if _commit(_object(one, "digest"))),
    )
    source, reference = split_source(uri)
    of_source = [one for one in materials if split_source(_text(one, "uri"))[0] == source and source]
    commits = [_commit(_object(one, "digest")) for one in of_source]
    return Provenance(
        builder=_text(_object(predicate, "builder"), "id"),
        build_type=_text(predicate, "buildType"),
        source=source,
        reference=_first(reference, *_references(of_source)),
        commit=_first(_text(vcs, "revision"), _commit(_object(config, "digest")), *commits),
        parameters=_object(invocation, "parameters"),
        materials=tuple(_material(one) for one in materials),
        invocation=_first(_text(metadata, "buildInvocationId"), _text(metadata, "buildInvocationID")),
        started=_text(metadata, "buildStartedOn"),
        finished=_text(metadata, "buildFinishedOn"),
    )


def split_source(uri: str) -> tuple[str, str]:
    """URL and reference of `git+https://host/a/b.git@refs/heads/main` and its like; empty where not said."""
    text = uri.removeprefix("git+")
    scheme, colon, rest = text.partition("://")
    if not colon or ":" in scheme:
        return "", ""
    host, _, path = rest.partition("/")
    # An @ before the path is somebody's name; behind it, or behind #, the reference.
    at = min((path.find(mark) for mark in "@#" if mark in path), default=len(path))
    path, reference = path[:at].rstrip("/").removesuffix(".git"), path[at + 1 :]
    return f"{scheme}://{host}/{path}".rstrip("/"), reference


def _references(dependencies: list[Mapping[str, Any]]) -> list[str]:
    return [split_source(_text(one, "uri"))[1] for one in dependencies]


def _commit(digest: Mapping[str, Any]) -> str:
    return _first(_text(digest, "gitCommit"), _text(digest, "sha1"))


def _material(fields: Mapping[str, Any]) -> str:
    uri, digest = _first(_text(fields, "uri"), _text(fields, "name")), _object(fields, "digest")
    said = next(((name, value) for name, value in digest.items() if isinstance(value, str)), None)
    return f"{uri}@{said[0]}:{said[1]}"[:MAX_TEXT] if said else uri


def _first(*texts: str) -> str:
    return next((text for text in texts if text), "")


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _object(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def _objects(fields: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = fields.get(key)
    return (
        [one for one in value[:MAX_DEPENDENCIES] if isinstance(one, dict)] if isinstance(value, list) else []
    )
