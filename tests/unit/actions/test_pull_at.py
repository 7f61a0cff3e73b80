"""A repository as it was at a time."""

import time
from datetime import UTC, datetime

import pytest

from entrepot.actions.copy import copy
from entrepot.actions.errors import BadRequest
from entrepot.actions.pull import parse_moment, pull
from entrepot.actions.sources import AsOf
from entrepot.client.registry import open_repository
from entrepot.client.settings import ClientSettings
from entrepot.images.store import ImageStore
from entrepot.oci.reference import Reference
from tests.unit.images.makers import add_image


def test_what_a_tag_was_is_what_comes(store: ImageStore, repository: str, settings: ClientSettings) -> None:
    name = f"{repository}:1"
    before = add_image(store, "app:1", layers=("before",))
    after = add_image(store, "app:2", layers=("after",))
    copy("store:app:1", name, store=store, settings=settings)
    between = datetime.now(UTC)
    while datetime.now(UTC) <= between:  # a clock may stand still
        time.sleep(0)
    copy("store:app:2", name, store=store, settings=settings)
    opened = open_repository(Reference.parse(name), client=settings)
    try:
        assert AsOf(opened, between.isoformat()).get_manifest("1").digest == before.target.digest
        assert opened.get_manifest("1").digest == after.target.digest
    finally:
        opened.close()
    assert pull(name, at=between, store=store, settings=settings).image.id == before.id


@pytest.mark.parametrize("text", ["yesterday", "", "2024-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_moment(text)
