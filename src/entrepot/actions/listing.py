"""`tags`, `ls` and `delete`: what is at a place, and taking it away."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from entrepot.actions.endpoints import Endpoint, Ends, InvalidEndpoint, names_in, parse_endpoint
from entrepot.actions.places import the_settings, the_store
from entrepot.actions.rmi import remove_image
from entrepot.client.registry import Registry
from entrepot.client.settings import ClientSettings
from entrepot.images.store import ImageStore
from entrepot.layout.directory import ImageLayout
from entrepot.oci.reference import DEFAULT_REGISTRY, Reference


def list_tags(
    name: str,
    *,
    patterns: Sequence[str] = (),
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> list[str]:
    """Tags of a repository, or names in a layout or archive, in byte order, that fit a shell pattern."""
    with Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends:
        found = names_in(parse_endpoint(name), ends)
    return [tag for tag in found if not patterns or any(fnmatch.fnmatchcase(tag, one) for one in patterns)]


def list_repositories(
    place: str,
    *,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> list[str]:
    """Repositories of a registry (`host[:port][/prefix]`) or of the store, or the names in a file."""
    ends = Ends(the_store(store), the_settings(settings, insecure=insecure))
    if place in ("store:", "store"):
        return sorted({tag.familiar_name for image in ends.store.list() for tag in image.tags})
    if place.partition(":")[0] in ("oci", "oci-archive", "docker-archive"):
        return names_in(parse_endpoint(place), ends)
    host, prefix = split_registry(place.removeprefix("docker://"))
    return [name for name in repositories_of(host, ends.settings) if name.startswith(prefix)]


def split_registry(text: str) -> tuple[str, str]:
    """Host and prefix; a single word is a host only when it looks like one."""
    host, _, prefix = text.partition("/")
    if "." in host or ":" in host or host == "localhost":
        return host, prefix
    return DEFAULT_REGISTRY, text


def repositories_of(host: str, settings: ClientSettings) -> list[str]:
    """Every repository of a registry that the account may see. Raises ContentNotFound, AccessDenied."""
    registry = Registry(host, settings=settings)
    with closing(registry):
        return registry.catalog()


def delete(
    name: str,
    *,
    whole_manifest: bool = False,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> str:
    """Delete a tag, or with a digest (or `whole_manifest`) a manifest with all its tags. What it was.

    Raises NotFound, AccessDenied, InvalidEndpoint for places nothing can be deleted from.
    """
    endpoint = parse_endpoint(name)
    with Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends:
        if endpoint.kind == "store":
            remove_image(endpoint.name, store=ends.store)
        elif endpoint.kind == "oci":
            _delete_from_layout(endpoint, whole_manifest)
        elif endpoint.kind == "docker" and endpoint.reference is not None:
            _delete_from_registry(endpoint.reference, ends, whole_manifest)
        else:
            raise InvalidEndpoint(f"{endpoint}: nothing can be deleted from there")
    return str(endpoint)


def _delete_from_registry(reference: Reference, ends: Ends, whole_manifest: bool) -> None:
    if reference.tag is None and reference.digest is None:
        raise InvalidEndpoint(f"{reference.familiar()}: say which tag or digest is to be deleted")
    repository = ends.repository(reference, push=True)
    if reference.digest is not None:
        repository.delete_manifest(reference.digest)
    elif whole_manifest and reference.tag is not None:
        repository.delete_manifest(repository.get_manifest(reference.tag).digest)
    elif reference.tag is not None:
        repository.delete_tag(reference.tag)


def _delete_from_layout(endpoint: Endpoint, whole_manifest: bool) -> None:
    if endpoint.path is None or not endpoint.name:
        raise InvalidEndpoint(f"{endpoint}: say which name is to be deleted")
    layout = ImageLayout(endpoint.path)
    if whole_manifest:
        layout.delete_manifest(layout.get_manifest(endpoint.name).digest)
    else:
        layout.delete_tag(endpoint.name)
    layout.collect()
