"""Kinds of jobs are declared once; who sees and starts them."""

from dataclasses import replace
from pathlib import Path

import pytest

from entrepot.errors import InvalidInput
from entrepot.server.config.model import Config, GcSection
from entrepot.server.config.values import Seconds
from entrepot.server.control.job_kinds import JOB_KINDS, find_job_kind
from entrepot.server.control.jobs import list_job_rounds, list_jobs, run_job
from entrepot.server.process.jobs_process import make_job_runner
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR, actor, refused

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).resolve().parents[4] / "docs" / "upkeep.md"


def period_s(name: str, config: Config) -> float | None:
    kind = find_job_kind(name)
    assert kind is not None
    return kind.period_s(config)


def test_the_documentation_has_the_table() -> None:
    rows = [f"| `{kind.name}` | {kind.words} | {kind.how_often} |" for kind in JOB_KINDS]
    heads = ["| job | what it does | how often |", "| --- | --- | --- |"]
    assert "\n".join([*heads, *rows]) + "\n\n" in DOCS.read_text()


def test_how_often_a_job_runs_follows_the_settings() -> None:
    config = Config()
    assert all(kind.period_s(config) for kind in JOB_KINDS), "each names settings that there are"
    quick = replace(config, gc=GcSection(interval=Seconds(10)))
    assert (period_s("gc", config), period_s("gc", quick)) == (3600, 10)
    assert (period_s("sweep", config), period_s("sweep", quick)) == (60, 10)
    assert period_s("gc", replace(config, gc=GcSection(enabled=False))) is None


async def test_each_kind_runs_when_somebody_asks_for_it(team: Registry) -> None:
    root = await actor(team, "root")
    for kind in JOB_KINDS:
        assert await run_job(team.services, root, kind.name)
        assert not await run_job(team.services, root, kind.name), "it waits already"
    assert await make_job_runner(team.services).run_due() == len(JOB_KINDS)
    rounds = await list_job_rounds(team.services, await actor(team, "auditor"))
    assert [(one.kind, one.last.state if one.last else "") for one in rounds] == [
        (kind, "done") for kind in JOB_KINDS
    ]
    shown = {row.kind for row in await list_jobs(team.services, OPERATOR)}
    assert shown == {kind.name for kind in JOB_KINDS if not kind.is_frequent}
    assert [row.kind for row in await list_jobs(team.services, OPERATOR, kind="sweep")] == ["sweep"]


async def test_others_neither_see_nor_start_them(team: Registry) -> None:
    await refused(team, lambda s, a: run_job(s, a, "gc"), "owner", "auditor", "stranger", "acme+ci")
    await refused(team, list_job_rounds, "owner", "stranger")
    await refused(team, list_jobs, "owner", "stranger")
    assert await make_job_runner(team.services).run_due() == 0


async def test_an_unknown_job_is_named_with_those_there_are(team: Registry) -> None:
    with pytest.raises(InvalidInput, match="no job is called nap") as caught:
        await run_job(team.services, OPERATOR, "nap")
    assert "gc, sweep" in str(caught.value.hint)
