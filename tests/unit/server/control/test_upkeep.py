"""Upkeep by hand, backups and exports: who may, on a registry that works."""

from pathlib import Path

import pytest

from entrepot.server.control.backups import back_up, export, list_backups
from entrepot.server.control.upkeep import check_everything, collect_garbage, find_orphans, read_back
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR, actor, refused

pytestmark = pytest.mark.anyio

MOST = ("owner", "auditor", "stranger", "acme+ci")


async def test_what_changes_something_is_for_operators_and_admins(team: Registry, tmp_path: Path) -> None:
    where, said = tmp_path / "backup", list[str]()
    await refused(team, collect_garbage, *MOST)
    await refused(team, read_back, *MOST)
    await refused(team, find_orphans, *MOST)
    await refused(team, lambda s, a: check_everything(s, a, repair=True), *MOST)
    await refused(team, lambda s, a: back_up(s, a, where=str(where), key=None, say=said.append), *MOST)
    await refused(team, lambda s, a: export(s, a, folder=where, say=said.append), *MOST)
    assert (where.exists(), said) == (False, [])


async def test_an_auditor_looks_and_others_do_not(team: Registry) -> None:
    auditor = await actor(team, "auditor")
    report, removals = await collect_garbage(team.services, auditor, dry_run=True, listed=True)
    assert (report.bytes_freed, removals) == (0, [])
    assert (await check_everything(team.services, auditor)).is_clean
    await refused(team, lambda s, a: collect_garbage(s, a, dry_run=True), "owner", "stranger")
    await refused(team, check_everything, "owner", "stranger")


async def test_the_operator_does_all_of_it(team: Registry, tmp_path: Path) -> None:
    services, said = team.services, list[str]()
    assert (await read_back(services, OPERATOR)).damaged == []
    assert (await find_orphans(services, OPERATOR)).orphans == 0
    assert (await check_everything(services, OPERATOR, deep=True, repair=True)).is_clean
    where = str(tmp_path / "backup")
    done = await back_up(services, OPERATOR, where=where, key=None, say=said.append)
    assert "access.key is not in a backup that is not encrypted" in said[0]
    known, bad = await list_backups(services.config, where=where, key=None, check=True)
    assert ([one.name for one in known], bad) == ([done.snapshot.name], [])
    made = await export(services, OPERATOR, folder=tmp_path / "out", repositories="acme/*", say=said.append)
    assert (made.repositories, made.problems) == (1, [])
