"""What `entrepot inspect`, `image inspect` and `container inspect` show."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from entrepot.cli import exitcodes
from entrepot.cli.invocation import open_store
from entrepot.cli.output import indented_json, print_error, write

Find = Callable[[str], dict[str, Any]]
"""A name to its document. Raises EntrepotError."""


def show_objects(names: tuple[str, ...], *, format_: str | None, size: bool, kind: str | None) -> int:
    """Print containers and images as `entrepot inspect` was asked; the exit code."""
    if kind not in (None, "", "container", "image"):
        print_error(f'unknown type: "{kind}": must be one of "container", "image"')
        return exitcodes.FAILED
    return print_documents(names, object_finder(kind or None, size=size), format_)


def image_finder(platform: str | None) -> Find:
    from entrepot.actions.inspect import inspect_image

    store = open_store()
    return lambda name: inspect_image(name, platform=platform, store=store)


def object_finder(kind: str | None, *, size: bool) -> Find:
    """Containers first, then images, as `kind` allows."""
    from entrepot.errors import InvalidInput, NotFound

    finders = [find for name, find in _finders(size) if kind in (None, name)]

    def find(name: str) -> dict[str, Any]:
        for one in finders:
            try:
                return one(name)
            except (NotFound, InvalidInput):
                continue
        raise NotFound(f"No such object: {name}" if kind is None else f"No such {kind}: {name}")

    return find


def _finders(size: bool) -> list[tuple[str, Find]]:
    from entrepot.actions.uses import inspect_container

    store = open_store()
    return [
        ("container", lambda name: inspect_container(name, size=size, store=store)),
        ("image", image_finder(None)),
    ]


def print_documents(names: Sequence[str], find: Find, format_: str | None) -> int:
    """Print what is found, then say what is not; docker's order and exit codes."""
    from entrepot.cli.failures import describe_failure
    from entrepot.errors import EntrepotError

    fill = None
    if format_ not in (None, "", "json"):
        from entrepot.cli.templates import compile_template

        fill = compile_template(format_)
    found: list[Any] = []
    failures, code = [], exitcodes.OK
    for name in names:
        try:
            document = find(name)
            found.append(fill(document) if fill else document)
        except EntrepotError as error:
            failures.append(describe_failure(error))
            code = exitcodes.FAILED
    if fill:
        sys.stdout.write("".join(f"{text}\n" for text in found) or "\n")
    elif format_ == "json":
        from entrepot.cli.templates import to_json

        write(to_json(found))
    else:
        write(indented_json(found) if found else "[]")
    for failure in failures:
        print_error(failure)
    return code
