"""What mkdocs cannot say in mkdocs.yml: the list of commands, and links to files outside of docs/."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

_OUTSIDE = re.compile(r"\]\((?:\.\./)+((?:deploy|src|tests|bench|scripts)/[^)#]+|[A-Z]+\.md)(#[^)]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Pages that mkdocs.yml does not name are one command each."""
    named = set(_paths(config["nav"]))
    commands = sorted(
        file.src_uri
        for file in files.documentation_pages()
        if file.src_uri not in named and "/" not in file.src_uri
    )
    for section in config["nav"]:
        if "Reference" in section:
            section["Reference"].append({"Commands": [{_title(path): path} for path in commands]})
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001
    """A file of the repository is shown where the repository is."""
    base = config["extra"]["repository"] + "/blob/main/"
    return _OUTSIDE.sub(lambda found: f"]({base}{found[1]}{found[2] or ''})", markdown)


def _title(path: str) -> str:
    return PurePosixPath(path).stem.replace("-", " ")


def _paths(nav: Any) -> Any:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for value in nav.values():
            yield from _paths(value)
    else:
        for value in nav:
            yield from _paths(value)
