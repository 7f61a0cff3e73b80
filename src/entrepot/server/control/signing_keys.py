"""The keys that sign bearer tokens: shown as certificates, replaced, forgotten when they are lost."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.secrets import signing_keys as rows
from entrepot.server.access.secrets.sealing import SealBroken, SealKey
from entrepot.server.access.secrets.signing import Algorithm
from entrepot.server.access.sign_in.source_table import SignInSource, disable_unreadable
from entrepot.server.control.ground import Ground
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = [
    "Algorithm",
    "ReplacedKeys",
    "SignInSource",
    "known_certificates",
    "list_certificates",
    "replace_lost_keys",
    "rotate_signing_key",
]


@dataclass(frozen=True, slots=True)
class ReplacedKeys:
    key: str
    """Id of the key that signs this registry's tokens from now on."""
    unreadable: list[SignInSource]
    """As they were: they are disabled now, since their secrets are lost."""


def known_certificates(services: Services) -> str:
    """PEM; of the keys that this process believes, nothing in open mode. All may know."""
    return services.accounts.keys.certificates() if services.accounts is not None else ""


async def list_certificates(services: Services, actor: Actor) -> str:
    """PEM; of all keys there are, in either mode. Raises SealBroken when the key file is another one."""

    def see(t: Transaction) -> str:
        t.require(Action.READ_SYSTEM)
        return rows.load_keys(t.connection, services.seal).certificates()

    return await look(services, actor, see)


async def rotate_signing_key(
    services: Services, actor: Actor, *, overlap_s: int = 0, algorithm: Algorithm | None = None
) -> str:
    """A new key takes over when all workers know it, and the old ones retire; returns its id. In person only.

    `overlap_s`: how long the old ones are believed at least. `algorithm`: of this registry's own tokens from
    then on; None: as now.
    """

    def do(t: Transaction) -> str:
        t.require(Action.MANAGE_SYSTEM)
        t.require_in_person()
        made = rows.rotate_signing_key(
            t.connection,
            t.actor,
            services.seal,
            issuer=services.config.access.issuer,
            now=t.now,
            overlap_s=overlap_s,
            algorithm=algorithm,
        )
        return made.kid

    return await change(services, actor, do)


async def replace_lost_keys(ground: Ground, actor: Actor) -> ReplacedKeys:
    """New keys in place of all, for when the file that opens them is lost; tokens of the old ones end.

    No services: they don't start without the file. Whoever has the ground may do everything; `actor` is for
    the log. Raises InvalidInput when the file opens what is sealed in the catalog.
    """
    seal = SealKey.load_or_create(ground.seal_file)

    def do(connection: Connection) -> ReplacedKeys:
        try:
            rows.load_keys(connection, seal)
        except SealBroken:
            now = ground.catalog.clock.now()
            key = rows.replace_signing_keys(
                connection, actor, seal, issuer=ground.config.access.issuer, now=now
            )
            return ReplacedKeys(key.kid, disable_unreadable(connection, actor, seal, now=now))
        raise InvalidInput(
            "the key file opens what is sealed in the catalog, so it is not lost",
            hint="leave --key-file-lost out for a new signing key",
        )

    return await ground.catalog.write(do)
