"""Who replaces the keys that sign bearer tokens."""

import pytest

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.errors import InvalidCredentials, PermitRefused
from entrepot.server.control import signing_keys, sources
from entrepot.server.control.ground import Ground
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import NOBODY, OPERATOR, actor, audit_rows, refused

pytestmark = pytest.mark.anyio

BEGIN = "-----BEGIN CERTIFICATE-----"


async def test_only_admins_replace_a_key_and_in_person(team: Registry) -> None:
    await refused(team, signing_keys.rotate_signing_key, "owner", "auditor", "stranger", "acme+ci")
    with pytest.raises(InvalidCredentials):
        await signing_keys.rotate_signing_key(team.services, NOBODY)
    before = await audit_rows(team)
    with pytest.raises(PermitRefused, match="sign in with a password"):
        await signing_keys.rotate_signing_key(team.services, await actor(team, "root", credential="pat"))
    assert await audit_rows(team) == before
    made = {
        await signing_keys.rotate_signing_key(team.services, who)
        for who in (await actor(team, "root"), OPERATOR)
    }
    assert len(made) == 2
    assert await audit_rows(team) == before + 2


async def test_a_new_key_is_told_of_before_it_signs(team: Registry) -> None:
    known = signing_keys.known_certificates(team.services)
    assert known == await signing_keys.list_certificates(team.services, OPERATOR)
    await signing_keys.rotate_signing_key(team.services, OPERATOR)
    both = await signing_keys.list_certificates(team.services, await actor(team, "auditor"))
    assert (known.count(BEGIN), both.count(BEGIN)) == (1, 2)
    await refused(team, signing_keys.list_certificates, "owner", "stranger")


def ground(team: Registry) -> Ground:
    services = team.services
    return Ground(services.config, "", services.catalog, services.store, services.seal_file)


async def test_keys_that_are_not_lost_stay(team: Registry) -> None:
    before = await audit_rows(team)
    with pytest.raises(InvalidInput, match="not lost"):
        await signing_keys.replace_lost_keys(ground(team), OPERATOR)
    assert await audit_rows(team) == before


async def test_lost_keys_are_replaced_and_lost_secrets_named(team: Registry) -> None:
    await sources.create_source(
        team.services,
        OPERATOR,
        name="corp",
        kind="oidc",
        settings={"issuer": "https://id.example.org", "client_id": "here"},
        secret="of the client",
    )
    team.services.seal_file.unlink()
    replaced = await signing_keys.replace_lost_keys(ground(team), OPERATOR)
    assert [source.name for source in replaced.unreadable] == ["corp"]
    assert not (await sources.list_sources(team.services, OPERATOR))[0].enabled
