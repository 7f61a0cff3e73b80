"""`create`: a container from an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from entrepot.actions.places import the_store
from entrepot.containers.lifecycle import Lifecycle
from entrepot.containers.options import CreateOptions
from entrepot.containers.records import Container, Containers
from entrepot.images.errors import NoSuchImage
from entrepot.images.image import Image
from entrepot.images.store import ImageStore

Fetch = Callable[[str], None]
"""Gets an image that is not here, or raises."""


def lifecycle_of(store: ImageStore | Path | str | None, *, runtime: str | None = None) -> Lifecycle:
    """Containers of a store, and what can be done with them."""
    return Lifecycle(Containers(the_store(store)), runtime=runtime)


def create_container(
    image: str,
    command: Sequence[str] = (),
    *,
    options: CreateOptions = CreateOptions(),
    pull: str = "missing",
    platform: str | None = None,
    store: ImageStore | Path | str | None = None,
    on_missing: Callable[[str], None] | None = None,
    fetch: Fetch | None = None,
) -> Container:
    """Make a container; `pull` is `missing`, `always` or `never`.

    `on_missing` is told an image's name before it is pulled; `fetch` replaces how that is done.
    Raises NoSuchImage, NoCommand, ContainerNameTaken, InvalidOption, NotFound, InvalidLayer and its
    relatives.
    """
    lifecycle = lifecycle_of(store)
    found = _image(lifecycle.containers.store, image, pull, platform, on_missing, fetch)
    return lifecycle.create(found, image, command, options)


def _image(
    store: ImageStore,
    name: str,
    pull: str,
    platform: str | None,
    on_missing: Callable[[str], None] | None,
    fetch: Fetch | None,
) -> Image:
    from entrepot.actions.inspect import check_platform

    if pull != "always":
        try:
            image = store.resolve(name)
            check_platform(image, name, platform)
        except NoSuchImage:
            if pull == "never":
                raise
            if on_missing is not None:
                on_missing(name)
        else:
            return image
    if fetch is not None:
        fetch(name)
    else:
        from entrepot.actions.pull import pull as pull_image

        pull_image(name, platform=platform, store=store)
    return store.resolve(name)
