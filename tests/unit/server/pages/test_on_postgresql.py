"""Every page is asked for once with the catalog in PostgreSQL: its SQL has to fit there too."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from entrepot.server.access.decision.model import SystemRole
from entrepot.server.access.directory.role_table import create_role
from entrepot.server.access.directory.teams import create_team
from entrepot.server.compose import build, prepare
from entrepot.server.config.model import AccessSection, CatalogSection, Config, LogSection, ServerSection
from entrepot.server.http.crowd import Crowd
from entrepot.server.http.front import Front
from entrepot.server.http.probes import Probes
from entrepot.server.http.watch import TransferWatch
from entrepot.server.pages.app import PAGES
from entrepot.server.process.app import RegistryApp
from entrepot.server.process.site import open_site
from entrepot.server.telemetry.access_log import AccessLog, RequestIds
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.dispatch import V2Application
from tests.support.images import OCI_INDEX, index
from tests.unit.server.api.conftest import BASE, Registry
from tests.unit.server.pages.conftest import visit

pytestmark = pytest.mark.anyio

QUERIES = {
    "/repositories/{repository:str}": ["sort=size", "sort=pulls&way=asc", "sort=name&filter=v"],
    "/repositories/{repository:str}/-/compare": ["from=v1&to=both"],
    "/": ["sort=name", "starred=yes", "label=x"],
    "/projects/{project:str}": ["filter=a&sort=name"],
    "/search.json": ["q=app", "q=app:v", "q=sha256:abcdef"],
    "/admin/audit": ["who=root&action=push&repository=acme&since=2020-01-01&until=2030-01-01"],
    "/admin/explain": ["user=owner&action=pull&on=acme/app"],
}


async def test_every_page_answers(postgresql_url: str, tmp_path: Path) -> None:
    config = Config(
        server=ServerSection(data=tmp_path / "data"),
        catalog=CatalogSection(url=postgresql_url),
        access=AccessSection(mode="accounts"),
        log=replace(LogSection(), access="off"),
    )
    (tmp_path / "data").mkdir(mode=0o700)
    facts = await prepare(config)
    services = await build(config, facts["mode"])
    try:
        v2 = V2Context.of(services)
        async with open_site(services) as site:
            probes = Probes(services.metrics, services.checks)
            front = Front(
                RegistryApp(V2Application(v2), probes, site),
                config=config,
                metrics=services.metrics,
                access_log=AccessLog("off"),
                ids=RequestIds(),
                watch=TransferWatch(),
                crowd=Crowd(),
            )
            transport = httpx.ASGITransport(app=front, client=("10.0.0.7", 1234))
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                await look_at_all(Registry(services, client, facts["setup"]))
    finally:
        await services.close()


MANIFEST = "/repositories/{repository:str}/-/manifests/{digest:str}"
EXPECTED: dict[str, set[int]] = {
    "/sign-in": {303},
    "/setup": {403},
    "/repositories/{repository:str}/-/tags/{tag:str}/files": {303},  # to those of its digest
    # No job lists files here.
    f"{MANIFEST}/files": {404},
    f"{MANIFEST}/raw": {404},
    f"{MANIFEST}/tar": {404},
}


async def look_at_all(registry: Registry) -> None:
    await registry.user("root", role=SystemRole.ADMIN)
    acme = await registry.project("acme")
    await registry.grant(await registry.user("owner"), acme, "owner")
    await registry.grant(await registry.robot("acme+ci"), acme, "developer")
    await registry.write(create_team, name="devs")
    await registry.write(create_role, name="releaser", actions=["push"])
    made = await registry.push("acme/app", "v1")
    await registry.push("acme/other", "v1")
    await registry.push("acme/gone", "v1")
    both = index([(made, {"os": "linux", "architecture": "amd64"})])
    put = await registry.call(
        "PUT", "/v2/acme/app/manifests/both", "root", content=both, headers={"content-type": OCI_INDEX}
    )
    assert put.status_code == 201
    root = await visit(registry, "root")
    for path, fields in (
        ("/repositories/acme/app/-/delete-tags", {"tag": "v1"}),
        ("/repositories/acme/app/-/star", {"star": "yes"}),
        ("/repositories/acme/gone/-/delete", {"name": "acme/gone"}),
        ("/admin/jobs", {"kind": "sweep"}),
    ):
        assert (await root.post(path, **fields)).status_code == 303, path
    await registry.push("acme/app", "v1")
    for handler in PAGES:
        if "GET" not in handler.http_methods:
            continue
        path = min(handler.paths)
        for query in ["", *QUERIES.get(path, [])]:
            address = path
            for name, value in (
                ("{repository:str}", "acme/app"),
                ("{project:str}", "acme"),
                ("{tag:str}", "both"),
                ("{digest:str}", made.digest),
                ("{robot:str}", "acme+ci"),
                ("{user:str}", "owner"),
                ("{team:str}", "devs"),
                ("{role:str}", "releaser"),
            ):
                address = address.replace(name, value)
            answer = await root.get(f"{address}?{query}")
            assert answer.status_code in EXPECTED.get(path, {200}), (address, query, answer.text[:500])
