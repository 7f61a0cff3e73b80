"""Moving in and out: who may, and that a refusal reads and writes nothing."""

from pathlib import Path

import pytest

from entrepot.server.control.moving import RegistryAddress, RegistryStorage, bring, check, write_out
from entrepot.server.control.portals import PortalAddress, bring_portal, check_portal
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR, refused

pytestmark = pytest.mark.anyio

MOST = ("owner", "auditor", "stranger", "acme+ci")


async def test_only_operators_and_admins_move_a_registry(team: Registry, tmp_path: Path) -> None:
    nowhere = RegistryStorage(str(tmp_path / "nowhere"))  # would be told, if it were looked for
    address = RegistryAddress("https://localhost:1")
    portal, out = PortalAddress("harbor", "https://localhost:1"), tmp_path / "out"
    for place in (nowhere, address):
        await refused(team, lambda s, a, place=place: bring(s, a, place), *MOST)
        await refused(team, lambda s, a, place=place: bring(s, a, place, plan=True), *MOST)
        await refused(team, lambda s, a, place=place: check(s, a, place), *MOST)
    await refused(team, lambda s, a: bring_portal(s, a, portal, say=print), *MOST)
    await refused(team, lambda s, a: check_portal(s, a, portal, say=print), *MOST)
    await refused(team, lambda s, a: write_out(s, a, where=str(out)), *MOST)
    assert not out.exists()


async def test_what_moves_out_moves_in_again(team: Registry, tmp_path: Path) -> None:
    written = await write_out(team.services, OPERATOR, where=str(tmp_path / "out"))
    assert (written.problems, written.manifests > 0) == ([], True)
    again = await bring(team.services, OPERATOR, RegistryStorage(str(tmp_path / "out")))
    assert (again.left, again.manifests, again.unchanged) == ([], 0, written.manifests)
    compared = await check(team.services, OPERATOR, RegistryStorage(str(tmp_path / "out")))
    assert compared.differences == []
