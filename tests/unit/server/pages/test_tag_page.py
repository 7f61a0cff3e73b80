"""A tag's page: what it is used for, where it comes from, whether it is signed; and deleting it."""

import pytest

from entrepot.oci.digest import Digest
from tests.unit.server.api.conftest import Registry
from tests.unit.server.pages.conftest import visit, words
from tests.unit.server.pages.test_artifacts import EMPTY, manifest, part, put

pytestmark = pytest.mark.anyio

PAGE = "/repositories/acme/app/-/tags/v1"


async def test_deleting_is_for_those_who_may(team: Registry) -> None:
    assert ">Delete</button>" not in (await (await visit(team, "puller")).get(PAGE)).text
    maintainer = await visit(team, "maintainer")
    assert ">Delete</button>" in (await maintainer.get(PAGE)).text
    done = await maintainer.post("/repositories/acme/app/-/delete-tags", tag="v1")
    assert done.status_code == 303
    assert (await team.call("HEAD", "/v2/acme/app/manifests/v1", "root")).status_code == 404


async def test_a_signature_that_cosign_keeps_by_a_tag_is_told_of(team: Registry) -> None:
    image = await team.push("acme/app", "v1")
    owner = await visit(team, "owner")
    assert "Signature" not in words(await owner.get(PAGE)).partition("Pull with")[0]
    digest = str(Digest.of(image.manifest))
    signature = await team.push("acme/app", digest.replace(":", "-") + ".sig", files={"sig": b"1"})
    page = (await owner.get(PAGE)).text
    assert "Signature attached" in words(await owner.get(PAGE))
    assert f"/repositories/acme/app/-/manifests/{Digest.of(signature.manifest)}" in page


async def test_tags_of_the_same_image_are_not_offered_to_compare_with(team: Registry) -> None:
    await team.push("acme/app", "v1")
    await team.push("acme/app", "same")
    await team.push("acme/app", "v2", files={"app": b"another"})
    page = (await (await visit(team, "owner")).get(PAGE)).text
    assert "<option>v2</option>" in page
    assert "<option>same</option>" not in page


@pytest.mark.parametrize(
    ("address", "is_link"),
    [
        ("https://code.test/acme?a=1&b=2", True),
        ("http://code.test", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("git@code.test:acme", False),
    ],
)
async def test_a_source_is_a_link_when_it_is_a_web_address(
    team: Registry, address: str, *, is_link: bool
) -> None:
    notes = {"org.opencontainers.image.source": address, "other": "https://code.test/other"}
    body = manifest(part(EMPTY), artifactType="application/x-own", annotations=notes)
    await put(team, "v1", body, b"{}")
    text = (await (await visit(team, "owner")).get("/repositories/acme/chart/-/tags/v1")).text
    assert (f'href="{address.replace("&", "&amp;")}"' in text) is is_link
    assert 'href="https://code.test/other"' not in text
    if is_link:
        assert 'rel="noopener noreferrer nofollow"' in text
