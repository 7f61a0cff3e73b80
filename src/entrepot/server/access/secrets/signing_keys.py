"""The signing keys as rows: made at first start, rotated, retired.

A new key becomes active a while after it is written, when every worker has read it; the old ones are believed
until the last token they signed has expired. There is always one for ES256, which other registries want; with
Ed25519 for our own tokens there is one of each.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import SYSTEM, Actor
from entrepot.server.access.secrets.sealing import SealKey
from entrepot.server.access.secrets.signing import SKEW_S, Algorithm, KeyRing, SigningKey, generate_key
from entrepot.server.db.clock import SECOND
from entrepot.server.db.settings import get_setting, set_setting
from entrepot.server.db.tables.access import signing_key

__all__ = [
    "RELOAD_S",
    "ROTATE_AFTER_S",
    "ensure_signing_key",
    "has_signing_keys",
    "load_keys",
    "replace_signing_keys",
    "rotate_signing_key",
]

RELOAD_S: Final = 60
"""A worker reads the keys again after at most this."""
ROTATE_AFTER_S: Final = 90 * 24 * 3600
"""Age at which a key is replaced by itself."""
_MAX_TOKEN_LIFE_S: Final = 300
_ALGORITHM: Final = "access.token_algorithm"
"""Setting of the catalog: what signs our own tokens; ES256 when unset."""
_ALL: Final = select(
    signing_key.c.private,
    signing_key.c.certificate,
    signing_key.c.active_at,
    signing_key.c.retired_at,
    signing_key.c.kid,
).order_by(signing_key.c.active_at)


def load_keys(connection: Connection, seal: SealKey) -> KeyRing:
    """Raises SealBroken when the key file is another one."""
    return KeyRing(
        tuple(
            SigningKey.load(
                seal.open(row.private, context=f"signing key {row.kid}"),
                row.certificate,
                active_at=row.active_at / SECOND,
                retired_at=None if row.retired_at is None else row.retired_at / SECOND,
            )
            for row in connection.execute(_ALL)
        ),
        preferred=_preferred(connection),
    )


def has_signing_keys(connection: Connection) -> bool:
    """Whether something is sealed already, so that a key file made now would open nothing."""
    return connection.execute(select(signing_key.c.kid).limit(1)).first() is not None


def _preferred(connection: Connection) -> Algorithm:
    return Algorithm(get_setting(connection, _ALGORITHM) or Algorithm.ES256)


def ensure_signing_key(
    connection: Connection, seal: SealKey, *, issuer: str, now: int, rotate_old: bool = True
) -> None:
    """Make the first key, replace one that has grown old, forget retired ones. Safe to repeat.

    Without `rotate_old` keys change by hand alone: another registry has their certificates in a file.
    """
    connection.execute(delete(signing_key).where(signing_key.c.retired_at < now))
    newest = connection.execute(
        select(signing_key.c.active_at).order_by(signing_key.c.active_at.desc()).limit(1)
    ).scalar_one_or_none()
    if newest is None:
        _insert(connection, seal, generate_key(issuer=issuer, now=now / SECOND))
    elif rotate_old and now - newest > ROTATE_AFTER_S * SECOND:
        rotate_signing_key(connection, SYSTEM, seal, issuer=issuer, now=now)


def rotate_signing_key(
    connection: Connection,
    by: Actor,
    seal: SealKey,
    *,
    issuer: str,
    now: int,
    overlap_s: int = 0,
    algorithm: Algorithm | None = None,
) -> SigningKey:
    """New keys that take over when all workers know them; `overlap_s`: how long the old ones stay.

    `algorithm` is what our own tokens are signed with from then on; None: as now. Returns the key for those.
    """
    active_at = now + 2 * RELOAD_S * SECOND
    retire_at = active_at + (max(overlap_s, _MAX_TOKEN_LIFE_S) + SKEW_S) * SECOND
    connection.execute(
        update(signing_key).where(signing_key.c.retired_at.is_(None)).values(retired_at=retire_at)
    )
    wanted = algorithm or _preferred(connection)
    set_setting(connection, _ALGORITHM, wanted.value)
    made = {
        kind: generate_key(issuer=issuer, now=now / SECOND, active_at=active_at / SECOND, algorithm=kind)
        for kind in {Algorithm.ES256, wanted}
    }
    for key in made.values():
        _insert(connection, seal, key)
    detail = {"algorithm": wanted.value}
    record(connection, by, "rotate-signing-key", now=now, new=made[wanted].kid, detail=detail)
    return made[wanted]


def replace_signing_keys(
    connection: Connection, by: Actor, seal: SealKey, *, issuer: str, now: int
) -> SigningKey:
    """New keys at once in place of all: for keys that can't be opened any more. Tokens of theirs end."""
    connection.execute(delete(signing_key))
    wanted = _preferred(connection)
    made = {
        kind: generate_key(issuer=issuer, now=now / SECOND, algorithm=kind)
        for kind in {Algorithm.ES256, wanted}
    }
    for key in made.values():
        _insert(connection, seal, key)
    record(connection, by, "replace-signing-keys", now=now, new=made[wanted].kid)
    return made[wanted]


def _insert(connection: Connection, seal: SealKey, key: SigningKey) -> None:
    connection.execute(
        insert(signing_key).values(
            kid=key.kid,
            private=seal.seal(key.private_pem(), context=f"signing key {key.kid}"),
            certificate=key.certificate_pem,
            active_at=round(key.active_at * SECOND),
        )
    )
