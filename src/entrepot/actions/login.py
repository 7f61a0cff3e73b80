"""`login` and `logout`: prove an account to a registry, then keep it where docker keeps accounts."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.actions.errors import BadRequest
from entrepot.actions.places import the_settings
from entrepot.client.credentials import Credential, hostname_of, server_key
from entrepot.client.registry import Registry
from entrepot.client.settings import ClientSettings
from entrepot.oci.reference import DEFAULT_REGISTRY


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """An account that works and has been stored."""

    registry: str
    username: str
    place: str
    """File or helper that holds it now."""
    encrypted: bool
    changed: bool
    has_token: bool
    """The registry gave an identity token; the password was not stored."""


def login(
    registry: str | None,
    username: str,
    password: str,
    *,
    settings: ClientSettings | None = None,
    insecure: bool = False,
) -> LoggedIn:
    """Check an account with its registry, and store it only if it works.

    `registry` may name a part of one (`registry.example/team`); the account is then used there alone.
    Raises AuthenticationFailed, RegistryUnreachable, CredentialHelperFailed, CredentialsUnwritable.
    """
    if not username:
        raise BadRequest("username is empty")
    if not password:
        raise BadRequest("password is empty")
    client = the_settings(settings, insecure=insecure)
    name = registry_name(registry)
    connection = Registry(name.partition("/")[0], settings=client)
    try:
        kept = connection.check_login(Credential(username=username, password=password))
    finally:
        connection.close()
    outcome = client.credentials.store(name, kept)
    return LoggedIn(
        name, username, outcome.place, outcome.encrypted, outcome.changed, bool(kept.identity_token)
    )


def logout(registry: str | None, *, settings: ClientSettings | None = None) -> bool:
    """Forget the account of a registry; whether there was one."""
    return the_settings(settings).credentials.erase(registry_name(registry))


def known_account(registry: str | None, *, settings: ClientSettings | None = None) -> Credential | None:
    """The account `login` without a user name tries again."""
    name = registry_name(registry)
    found = the_settings(settings).credentials.lookup(name)
    return found if found is not None and not found.is_empty else None


def shown_registry(registry: str | None) -> str:
    """How messages name it: docker calls the Hub by an old address."""
    return server_key(registry_name(registry))


def registry_name(text: str | None) -> str:
    """`http://h:p/v2/` is `h:p`; nothing is Docker Hub."""
    if not text:
        return DEFAULT_REGISTRY
    if "://" in text:
        return hostname_of(text)
    name = text.rstrip("/")
    return DEFAULT_REGISTRY if name in ("index.docker.io", "registry-1.docker.io") else name
