"""The signing keys as rows: made at first start, rotated, retired.

A new key becomes active a while after it is written, when every worker has read it; the old one is believed
until the last token it signed has expired.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from entrepot.server.access.audit import SYSTEM, ActorLike, record
from entrepot.server.access.sealing import SealKey
from entrepot.server.access.signing import SKEW_S, KeyRing, SigningKey, generate_key
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables.access import signing_key

__all__ = ["RELOAD_S", "ROTATE_AFTER_S", "ensure_signing_key", "load_keys", "rotate_signing_key"]

RELOAD_S: Final = 60
"""A worker reads the keys again after at most this."""
ROTATE_AFTER_S: Final = 90 * 24 * 3600
"""Age at which a key is replaced by itself."""
_MAX_TOKEN_LIFE_S: Final = 300
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
        )
    )


def ensure_signing_key(connection: Connection, seal: SealKey, *, issuer: str, now: int) -> None:
    """Make the first key, replace one that has grown old, forget retired ones. Safe to repeat."""
    connection.execute(delete(signing_key).where(signing_key.c.retired_at < now))
    newest = connection.execute(
        select(signing_key.c.active_at).order_by(signing_key.c.active_at.desc()).limit(1)
    ).scalar_one_or_none()
    if newest is None:
        _insert(connection, seal, generate_key(issuer=issuer, now=now / SECOND))
    elif now - newest > ROTATE_AFTER_S * SECOND:
        rotate_signing_key(connection, SYSTEM, seal, issuer=issuer, now=now)


def rotate_signing_key(
    connection: Connection, by: ActorLike, seal: SealKey, *, issuer: str, now: int, overlap_s: int = 0
) -> SigningKey:
    """A new key that takes over when all workers know it; `overlap_s`: how long the old one stays."""
    active_at = now + 2 * RELOAD_S * SECOND
    retire_at = active_at + (max(overlap_s, _MAX_TOKEN_LIFE_S) + SKEW_S) * SECOND
    connection.execute(
        update(signing_key).where(signing_key.c.retired_at.is_(None)).values(retired_at=retire_at)
    )
    key = generate_key(issuer=issuer, now=now / SECOND, active_at=active_at / SECOND)
    _insert(connection, seal, key)
    record(connection, by, "rotate-signing-key", now=now, new=key.kid)
    return key


def _insert(connection: Connection, seal: SealKey, key: SigningKey) -> None:
    connection.execute(
        insert(signing_key).values(
            kid=key.kid,
            private=seal.seal(key.private_pem(), context=f"signing key {key.kid}"),
            certificate=key.certificate_pem,
            active_at=round(key.active_at * SECOND),
        )
    )
