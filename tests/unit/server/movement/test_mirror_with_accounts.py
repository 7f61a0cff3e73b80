"""A mirror of a registry with accounts: docker asks for a token by the upstream's name first."""

import pytest

from entrepot.server.control.pull_through import add_upstream
from tests.support.lying_registry import lying_registry
from tests.unit.server.api.conftest import Registry, registry, team
from tests.unit.server.control.conftest import OPERATOR
from tests.unit.server.movement.conftest import Origin

__all__ = ["registry", "team"]

pytestmark = pytest.mark.anyio


async def pulled(registry: Registry, name: str, who: str | None = None) -> int:
    """The status of a pull as docker does it: by a token for just this."""
    token = await registry.bearer(f"repository:{name}:pull", who)
    answer = await registry.client.get(
        f"/v2/{name}/manifests/v1", headers={"authorization": f"Bearer {token}"}
    )
    return answer.status_code


async def test_a_token_for_the_upstreams_name_pulls_from_the_mirror(team: Registry) -> None:
    origin = Origin()
    origin.image(b"layer", "v1")
    with lying_registry(origin.answer) as far:
        await add_upstream(team.services, OPERATOR, name="hub", url=far.url, inside=True, whole=True)
        await team.services.pull_through.directory.of("read/now")
        assert await pulled(team, "library/nginx") == 200
        assert await pulled(team, "hub/library/nginx") == 200
        # What is here is asked of nobody, whether it may be seen or not.
        asked = len(far.requests)
        assert await pulled(team, "acme/secret") == 401
        assert await pulled(team, "acme/app", "puller") == 200
        assert len(far.requests) == asked


async def test_a_project_with_an_account_there_is_private(team: Registry) -> None:
    origin = Origin()
    origin.image(b"layer", "v1")
    with lying_registry(origin.answer) as far:
        await add_upstream(
            team.services, OPERATOR, name="hub", url=far.url, inside=True, username="bot", password="x"
        )
        assert await pulled(team, "hub/app") == 401
        assert await pulled(team, "hub/app", "puller") == 401
        assert await pulled(team, "hub/app", "root") == 200
