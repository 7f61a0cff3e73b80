"""The page that tells an administrator how the registry is: its parts, its nodes, its work."""

import json

import pytest
from sqlalchemy import Connection, insert

from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables import node
from entrepot.server.upkeep.collection import totals
from tests.unit.server.pages.conftest import Registry, visit, words

pytestmark = pytest.mark.anyio


async def test_nodes_and_how_they_are(registry: Registry) -> None:
    catalog = registry.services.catalog
    now = catalog.clock.steady()

    def add(connection: Connection) -> None:
        ill = {"pid": 2, "listen": [":5000"], "problems": {"store": "the bucket does not answer"}}
        for name, role, seen_s, detail in (
            ("machine1", "serve", 3, {"pid": 1, "listen": [":5000"]}),
            ("machine2", "serve", 3, ill),
            ("machine3", "worker", 300, {"pid": 3}),
        ):
            times = {"started_at": now - 1000 * SECOND, "seen_at": now - seen_s * SECOND}
            row = {
                "id": f"{name}-1",
                "name": name,
                "role": role,
                "version": "9.9",
                "detail": json.dumps(detail),
            }
            connection.execute(insert(node).values(**row, **times))

    await catalog.write(add)
    page = words(await (await visit(registry, "root")).get("/admin"))
    assert "machine1 machine1 answers requests alive 9.9" in page
    assert "machine2 machine2 answers requests not ready store: the bucket does not answer" in page
    assert "machine3 machine3 background work silent" in page


async def test_damage_of_the_catalog(registry: Registry) -> None:
    """B5: said on the page, which needs only reads."""
    somebody = await visit(registry, "root")
    catalog = registry.services.catalog
    catalog.set_read_only("page 7 is not a page")
    try:
        page = words(await somebody.get("/admin"))
        assert (
            "Damage failing nothing can be changed until the catalog is restored: page 7 is not a page"
            in page
        )
    finally:
        catalog.set_read_only(None)


async def test_what_is_stored_of_very_much_says_when_it_was_counted(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = registry.services.catalog
    monkeypatch.setattr(totals, "COUNTED_AT_ONCE", -1)
    hour_ago = catalog.clock.now() - 3600 * SECOND
    await catalog.write(totals.note_stored, totals.Stored(3_000_000, 5_000_000), hour_ago)
    page = words(await (await visit(registry, "root")).get("/admin/storage"))
    assert "On disk 5.00 MB in 3 000 000 blobs, 1 hour ago" in page.replace("\u202f", " ").replace(
        "\xa0", " "
    )
