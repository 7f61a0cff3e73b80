"""Who says where people sign in: admins, in person."""

from pathlib import Path

import pytest

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.errors import AlreadyExists, InvalidCredentials, PermitRefused, Unknown
from entrepot.server.control import sources
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import NOBODY, OPERATOR, UseCase, actor, audit_rows, refused

pytestmark = pytest.mark.anyio

CHANGES: dict[str, UseCase] = {
    "create": lambda s, a: sources.create_source(
        s, a, name="more", kind="htpasswd", settings={"path": __file__}
    ),
    "disable": lambda s, a: sources.enable_source(s, a, "corp", enabled=False),
    "delete": lambda s, a: sources.delete_source(s, a, "corp"),
}


@pytest.fixture
async def corp(team: Registry, tmp_path: Path) -> Registry:
    """With a file of passwords."""
    file = tmp_path / "htpasswd"
    file.write_text("")
    await sources.create_source(
        team.services, OPERATOR, name="corp", kind="htpasswd", settings={"path": str(file)}
    )
    return team


@pytest.mark.parametrize("name", CHANGES)
async def test_only_admins_change_them_and_in_person(corp: Registry, name: str) -> None:
    await refused(corp, CHANGES[name], "owner", "auditor", "stranger", "acme+ci")
    with pytest.raises(InvalidCredentials):
        await CHANGES[name](corp.services, NOBODY)
    before = await audit_rows(corp)
    with pytest.raises(PermitRefused, match="sign in with a password"):
        await CHANGES[name](corp.services, await actor(corp, "root", credential="pat"))
    assert await audit_rows(corp) == before
    await CHANGES[name](corp.services, await actor(corp, "root"))
    assert await audit_rows(corp) > before


async def test_a_change_holds_at_once(corp: Registry) -> None:
    assert corp.services.accounts is not None
    assert corp.services.accounts.sources.password_source("corp") is not None
    changed = await sources.enable_source(corp.services, OPERATOR, "corp", enabled=False)
    assert not changed.enabled
    assert corp.services.accounts.sources.password_source("corp") is None


async def test_who_may_see_the_registry_sees_them(corp: Registry) -> None:
    await refused(corp, sources.list_sources, "owner", "stranger")
    (found,) = await sources.list_sources(corp.services, await actor(corp, "auditor"))
    assert (found.name, found.kind) == ("corp", "htpasswd")


async def test_a_password_file_that_is_not_there_is_refused_with_what_to_do(
    corp: Registry, tmp_path: Path
) -> None:
    before = await audit_rows(corp)
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidInput, match=f"there is no file {path}") as caught:
            await sources.create_source(
                corp.services, OPERATOR, name="more", kind="htpasswd", settings={"path": str(path)}
            )
        assert f"htpasswd -cB {path} NAME" in (caught.value.hint or "")
    assert await audit_rows(corp) == before


async def test_what_fails_leaves_nothing_behind(corp: Registry) -> None:
    root = await actor(corp, "root")
    before = await audit_rows(corp)
    for use, error in (
        (
            sources.create_source(corp.services, root, name="corp", kind="htpasswd", settings={"path": "/x"}),
            AlreadyExists,
        ),
        (
            sources.create_source(corp.services, root, name="id", kind="oidc", settings={"odd": "1"}),
            InvalidInput,
        ),
        (sources.enable_source(corp.services, root, "gone", enabled=True), Unknown),
        (sources.delete_source(corp.services, root, "gone"), Unknown),
    ):
        with pytest.raises(error):
            await use
    assert await audit_rows(corp) == before
