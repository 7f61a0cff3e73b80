"""LDAP and Active Directory: search the user with a service account, then bind as the user.

Everything that goes into a filter is escaped. An empty password is refused here: a server would take it as
an anonymous bind and call it success.
"""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from entrepot.errors import Unavailable
from entrepot.server.access.sign_in.sources.base import Person

if TYPE_CHECKING:
    import ldap3

__all__ = ["LdapDirectory", "LdapSettings", "LdapUnavailable"]

_TIMEOUT_S: Final = 10


class LdapUnavailable(Unavailable):
    """The directory could not be asked."""

    code: ClassVar[str] = "ldap-unavailable"


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """How to ask a directory."""

    url: str
    """`ldap://host:389` or `ldaps://host`."""
    user_base: str
    """Where users are, as in `ou=people,dc=example,dc=org`."""
    bind_dn: str = ""
    """Service account that may search; empty: anonymous."""
    user_filter: str = "(uid={name})"
    """Finds one user; `{name}` is the escaped log-in name."""
    name_attribute: str = "uid"
    display_attribute: str = "cn"
    email_attribute: str = "mail"
    group_base: str = ""
    """Where groups are; empty: `memberOf` of the user is read instead."""
    group_filter: str = "(|(member={dn})(uniqueMember={dn})(memberUid={name}))"
    group_attribute: str = "cn"
    admin_group: str = ""
    """Members of it are admins of the registry; empty: LDAP says nothing about admins."""
    start_tls: bool = False
    ca_file: str = ""
    """PEM file that the directory's certificate is checked against; empty: the system's."""


class LdapDirectory:
    """PasswordSource. Connections are made per sign-in; the threads bound how many."""

    def __init__(self, name: str, settings: LdapSettings, bind_password: str, threads: Executor) -> None:
        self.name = name
        self._settings = settings
        self._bind_password = bind_password
        self._threads = threads

    async def sign_in(self, name: str, password: str) -> Person | None:
        if not password:
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._sign_in, name, password)

    def vouches_for(self, name: str) -> str | None:  # noqa: ARG002 - a directory is asked at sign-in only
        return ""

    def _sign_in(self, name: str, password: str) -> Person | None:
        from ldap3.core.exceptions import LDAPException

        try:
            with self._connect(self._settings.bind_dn, self._bind_password) as searching:
                entry = self._find(searching, name)
                if entry is None:
                    return None
                groups = self._groups(searching, entry, name)
            try:
                with self._connect(entry["dn"], password):
                    pass
            except _WrongPassword:
                return None
        except _WrongPassword as error:
            raise LdapUnavailable(f"LDAP source {self.name} refuses its service account") from error
        except (LDAPException, OSError) as error:
            raise LdapUnavailable(
                f"LDAP source {self.name} could not be asked: {type(error).__name__}"
            ) from error
        return self._person(entry, name, groups)

    def _connect(self, dn: str, password: str) -> ldap3.Connection:
        import ldap3

        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=self._settings.ca_file or None)
        server = ldap3.Server(self._settings.url, tls=tls, connect_timeout=_TIMEOUT_S, get_info=ldap3.NONE)
        connection = ldap3.Connection(
            server,
            user=dn or None,
            password=password or None,
            authentication=ldap3.SIMPLE if dn else ldap3.ANONYMOUS,
            receive_timeout=_TIMEOUT_S,
            auto_referrals=False,
            raise_exceptions=False,
        )
        connection.open()
        if self._settings.start_tls:
            connection.start_tls()
        if not connection.bind():
            connection.unbind()
            raise _WrongPassword
        return connection

    def _find(self, connection: ldap3.Connection, name: str) -> dict[str, Any] | None:
        settings = self._settings
        wanted = [settings.name_attribute, settings.display_attribute, settings.email_attribute]
        if not settings.group_base:
            wanted.append("memberOf")
        connection.search(
            settings.user_base,
            settings.user_filter.replace("{name}", _escaped(name)),
            attributes=wanted,
            size_limit=2,
        )
        entries = [entry for entry in connection.response or [] if entry["type"] == "searchResEntry"]
        return entries[0] if len(entries) == 1 else None

    def _groups(self, connection: ldap3.Connection, entry: dict[str, Any], name: str) -> tuple[str, ...]:
        settings = self._settings
        if not settings.group_base:
            return tuple(_first_value(dn) for dn in _values(entry, "memberOf"))
        text = settings.group_filter.replace("{dn}", _escaped(entry["dn"]))
        connection.search(
            settings.group_base,
            text.replace("{name}", _escaped(name)),
            attributes=[settings.group_attribute],
        )
        found = [group for group in connection.response or [] if group["type"] == "searchResEntry"]
        return tuple(value for group in found for value in _values(group, settings.group_attribute)[:1])

    def _person(self, entry: dict[str, Any], name: str, groups: tuple[str, ...]) -> Person:
        settings = self._settings
        return Person(
            subject=entry["dn"].lower(),
            name=(_values(entry, settings.name_attribute) or [name])[0].lower(),
            display_name=(_values(entry, settings.display_attribute) or [""])[0],
            email=(_values(entry, settings.email_attribute) or [""])[0],
            groups=groups,
            is_admin=settings.admin_group in groups if settings.admin_group else None,
        )


class _WrongPassword(Exception):
    pass


def _escaped(text: str) -> str:
    """For a filter (RFC 4515)."""
    return "".join(f"\\{ord(c):02x}" if c in "\\*()\0" else c for c in text)


def _values(entry: dict[str, Any], attribute: str) -> list[str]:
    lowered = {key.lower(): value for key, value in entry["attributes"].items()}
    value = lowered.get(attribute.lower()) or []
    return [str(item) for item in (value if isinstance(value, list) else [value])]


def _first_value(dn: str) -> str:
    """`cn=devs,ou=groups,…` → `devs`."""
    return dn.partition(",")[0].partition("=")[2]
