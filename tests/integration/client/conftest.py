"""What the client's tests share."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.client.registry import PULL, PUSH, open_repository
from entrepot.client.repository import Repository
from entrepot.client.settings import ClientSettings
from entrepot.oci.reference import Reference
from tests.support.lying_registry import LyingRegistry, Reply, Request, Script, quick_settings

Open = Callable[..., Repository]


@pytest.fixture
def settings(tmp_path: Path) -> ClientSettings:
    return quick_settings(tmp_path)


@pytest.fixture
def with_account(tmp_path: Path) -> Callable[..., ClientSettings]:
    """Settings of a user with accounts: `with_account({"host": "user:password"}, toml)`."""

    def build(accounts: dict[str, str], registries: str = "") -> ClientSettings:
        docker = tmp_path / ".docker"
        docker.mkdir(exist_ok=True)
        auths = {host: {"auth": base64.b64encode(pair.encode()).decode()} for host, pair in accounts.items()}
        (docker / "config.json").write_text(json.dumps({"auths": auths}))
        if registries:
            ours = tmp_path / ".config" / "entrepot"
            ours.mkdir(parents=True, exist_ok=True)
            (ours / "registries.toml").write_text(registries)
        return quick_settings(tmp_path)

    return build


def repository_of(
    registry: LyingRegistry, settings: ClientSettings, name: str = "team/app", *, push: bool = False
) -> Repository:
    opened = open_repository(Reference.parse(f"{registry.host}/{name}"), client=settings, push=push)
    assert isinstance(opened, Repository)
    return opened


def routes(table: dict[tuple[str, str], Reply | Script]) -> Script:
    """A script from (method, part of the target): the first that fits; `/v2/` is fine; else 404."""

    def answer(request: Request) -> Reply | None:
        for (method, part), reply in table.items():
            if method == request.method and part in request.target:
                return reply(request) if callable(reply) else reply
        return Reply(200, body=b"{}") if request.path == "/v2/" else Reply(404)

    return answer


__all__ = ["PULL", "PUSH", "Open", "repository_of", "routes"]
