"""Registries as places for content: ours, and Debian's docker-registry. One of each a test run."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entrepot.client.registry import PUSH, Registry
from entrepot.client.repository import Repository
from tests.support.lying_registry import quick_settings
from tests.support.ports import free_port
from tests.support.programs import require_program
from tests.support.registry import answers_as_registry, our_registry
from tests.support.shared import shared_server

if TYPE_CHECKING:
    from tests.contract.content.places import Place


def _docker_registry(folder: Path) -> tuple[list[str], dict[str, Any], Any]:
    port, config = free_port(), folder / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
        f'http: {{addr: "127.0.0.1:{port}"}}\n'
    )
    argv = [require_program("docker-registry"), "serve", str(config)]
    return argv, {"port": port}, lambda: answers_as_registry(port)


@contextmanager
def registry(tmp_path: Path) -> "Iterator[Place]":
    from tests.contract.content.places import Place

    port = our_registry()
    with _opened(tmp_path, port) as repository:
        yield Place(repository, repository, repository, repository, resumes=False)


@contextmanager
def docker_registry(tmp_path: Path) -> "Iterator[Place]":
    from tests.contract.content.places import Place

    port = shared_server("contract-docker-registry", _docker_registry)["port"]
    with _opened(tmp_path, port) as repository:
        # It deletes by digest alone, and lists no referrers.
        yield Place(repository, repository, None, None, resumes=False)


@contextmanager
def _opened(tmp_path: Path, port: int) -> Iterator[Repository]:
    opened = Registry(f"localhost:{port}", settings=quick_settings(tmp_path))
    try:
        yield opened.repository(f"contract/{uuid.uuid4().hex}", actions=PUSH)
    finally:
        opened.close()
