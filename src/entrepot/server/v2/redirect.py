"""Who is sent to the object store for a blob's bytes, and who gets them through the node."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.server.config.addresses import Network, in_networks, parse_networks
from entrepot.server.config.model import StorageSection

__all__ = ["RedirectRule"]


@dataclass(frozen=True, slots=True)
class RedirectRule:
    """`[storage] redirect…`, parsed."""

    on: bool = False
    networks: tuple[Network, ...] = ()
    """Clients that are sent; empty: all."""
    exempt: tuple[Network, ...] = ()
    expires_s: int = 0

    @classmethod
    def of(cls, storage: StorageSection) -> RedirectRule:
        """Raises AddressInvalid."""
        return cls(
            storage.redirect,
            parse_networks(storage.redirect_networks),
            parse_networks(storage.redirect_except),
            int(storage.redirect_expires),
        )

    def sends(self, address: str) -> bool:
        """Whether the client at `address` is sent to the store. Pure."""
        if not self.on or (self.exempt and in_networks(address, self.exempt)):
            return False
        return not self.networks or in_networks(address, self.networks)
