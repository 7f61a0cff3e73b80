"""The files of an image over the management API."""

import pytest

from entrepot.server.control.contents import index_settings
from entrepot.server.insight.indexer import Indexer
from tests.unit.server.api.conftest import Registry

pytestmark = pytest.mark.anyio


async def looked_at(team: Registry) -> str:
    layers = ({"etc/conf": b"1", "etc/more": b"22"}, {"etc/conf": b"333"})
    made = await team.push("acme/app", "v2", files=layers)
    services = team.services
    await Indexer(services.catalog, services.store, index_settings(services.config)).run()
    return f"/repositories/acme%2Fapp/manifests/{made.digest}"


async def test_files_come_in_pages(team: Registry) -> None:
    base = await looked_at(team)
    first = (await team.api("GET", f"{base}/files?deep=true&n=2", "puller")).json()
    assert [item["path"] for item in first["items"]] == ["/etc/", "/etc/conf"]
    assert (first["items"][1]["size"], first["items"][1]["layer"], first["items"][1]["brought_by"]) == (
        3,
        2,
        1,
    )
    rest = (await team.client.get(first["next"], auth=team.auth("puller"))).json()
    assert ([item["path"] for item in rest["items"]], rest["next"]) == (["/etc/more"], None)
    summary = (await team.api("GET", f"{base}/files-summary", "puller")).json()
    assert (summary["size"], summary["files"], summary["wasted_bytes"]) == (5, 2, 4)


async def test_they_need_pull(team: Registry) -> None:
    base = await looked_at(team)
    for who in ("viewer", "stranger", None):
        assert (await team.api("GET", f"{base}/files", who)).status_code in (401, 403, 404)


async def test_what_is_asked_wrongly_is_refused_in_words(team: Registry) -> None:
    base = await looked_at(team)
    assert (await team.api("GET", f"{base}/files?last=zz", "puller")).status_code == 400
    assert (await team.api("GET", f"{base}/files?path=/none", "puller")).status_code == 404
