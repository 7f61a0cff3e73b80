"""Which settings may meet which network: open mode stays on loopback, credentials never cross a wire in
clear.

Pure; `serve` calls it before it binds anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from entrepot.errors import Conflict, InvalidInput
from entrepot.server.config.addresses import Address
from entrepot.server.config.model import Config


class TooExposed(InvalidInput):
    """The server would be reachable in a way its settings do not protect."""

    code: ClassVar[str] = "too-exposed"


def has_tls(config: Config) -> bool:
    return config.tls.cert is not None or config.tls.self_signed


def check_exposure(config: Config, mode: str, addresses: Sequence[Address]) -> list[str]:
    """Sentences to show loudly. Raises TooExposed when the server must not start like this."""
    outside = [address for address in addresses if not address.is_loopback]
    if mode == "open":
        if outside and not config.server.allow_open:
            raise TooExposed(
                f"an open registry listens on loopback only, not on {outside[0].shown}: "
                "everyone who reaches it could push and delete",
                hint="set access.mode to accounts, or add --open if that is really wanted",
            )
        if config.server.allow_open:
            where = ", ".join(address.shown for address in outside) or "loopback"
            loud = (
                f"OPEN: everyone who can connect to {where} can push, overwrite and delete; "
                "there are no accounts and Host names are not checked"
            )
            return [loud]
        return []
    if outside and not has_tls(config) and not config.server.behind_proxy:
        raise TooExposed(
            f"passwords would cross the network unencrypted on {outside[0].shown}",
            hint="give --tls-cert and --tls-key, or --tls-self-signed, or --behind-proxy with the address of "
            "the proxy that speaks TLS",
        )
    return []


class ModeMismatch(Conflict):
    """The settings ask for open mode, the catalog has accounts."""

    code: ClassVar[str] = "mode-mismatch"


def choose_mode(config: Config, kept: str | None) -> str:
    """The access mode of this start: what is asked for, what the catalog keeps, else open. Pure.

    A catalog that once had accounts is opened to everybody only by `--open`. Raises ModeMismatch.
    """
    asked = "open" if config.server.allow_open else config.access.mode
    if kept == "accounts" and asked == "open" and not config.server.allow_open:
        raise ModeMismatch(
            "access.mode is open, but this registry has accounts: everybody could push and delete",
            hint="take access.mode out of the settings, or type --open if that is really wanted",
        )
    return asked or kept or "open"
