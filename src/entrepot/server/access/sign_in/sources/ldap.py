"""LDAP and Active Directory: search the user with a service account, then bind as the user.

A name that is not there is followed by a bind all the same, as nobody, so that a try costs the same number of
questions whoever it is for; groups are asked for once the password was right. While somebody stays signed in
the service account looks them up again now and then: who was removed or disabled, or got another password
where the directory says when, signs in again.

Everything that goes into a filter is escaped. An empty password is refused here: a server would take it as
an anonymous bind and call it success.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from entrepot.errors import Unavailable
from entrepot.server.access.sign_in.sources.base import Person, entry_mark
from entrepot.server.access.sign_in.sources.outbound import Deadline, Outbound

if TYPE_CHECKING:
    import ldap3

__all__ = ["LdapDirectory", "LdapSettings", "LdapUnavailable"]

_TIMEOUT_S: Final = 5
_LOOK_AGAIN_S: Final = 60.0
"""So long what the directory said of somebody who is signed in counts."""
_LOOK_SOONER_S: Final = 5.0
"""When it said that their entry was another: perhaps they have just signed in elsewhere with that one."""
_ASK_AFTER_FAILURE_S: Final = 30.0
"""A directory that could not be asked is left alone for so long by those who are signed in already."""
_PATIENCE_S: Final = 2.0
_MAX_KNOWN: Final = 4096
_STATE: Final = (
    "pwdChangedTime",
    "pwdLastSet",
    "shadowLastChange",
    "sambaPwdLastSet",
    "krbLastPwdChange",
)
"""Change with the password, at OpenLDAP, Active Directory, shadow, Samba, FreeIPA."""
_DISABLED: Final = ("userAccountControl", "nsAccountLock", "pwdAccountLockedTime")
_AD_DISABLED: Final = 2
_LOCKED_FOR_GOOD: Final = "000001010000Z"
_NOT_NOW: Final = frozenset({51, 52})
"""busy, unavailable (RFC 4511 appendix A.2): nothing was said about the password."""


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


@dataclass(frozen=True, slots=True)
class _Known:
    """What the directory said of somebody, and when."""

    mark: str | None
    """None: removed or disabled."""
    at: float


class LdapDirectory:
    """PasswordSource. Connections are made per question."""

    def __init__(self, name: str, settings: LdapSettings, bind_password: str, outbound: Outbound) -> None:
        self.name = name
        self._settings = settings
        self._bind_password = bind_password
        self._outbound = outbound
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._looking: dict[str, asyncio.Task[str | None]] = {}
        self._failed_at = -_ASK_AFTER_FAILURE_S

    async def sign_in(self, name: str, password: str) -> Person | None:
        if not password:
            return None
        person = await self._outbound.ask(self.name, self._sign_in, name, password)
        if person is None:
            return None
        self._note(name, person.entry)
        # What they typed finds them again; the name they have here need not.
        return replace(person, entry=f"{person.entry} {name}")

    async def pretend(self) -> None:
        await self._outbound.ask(self.name, self._sign_in, None, secrets.token_urlsafe(12))

    def vouches_for(self, name: str) -> str | None:
        """Nothing but that somebody is gone: they may have signed in at another node with a new password."""
        known = self._known.get(name)
        gone = known is not None and known.mark is None and time.monotonic() - known.at < _LOOK_AGAIN_S
        return None if gone else ""

    async def goes_on(self, name: str, entry: str) -> bool:  # noqa: ARG002 - `entry` knows it better
        then, _, typed = entry.partition(" ")
        known = self._known.get(typed)
        if known is not None:
            age_s = time.monotonic() - known.at
            if age_s < (_LOOK_AGAIN_S if known.mark == then else _LOOK_SOONER_S):
                return known.mark == then
        return await self._look_again(typed) == then

    async def _look_again(self, name: str) -> str | None:
        """One question for all who wait. Raises Unavailable after a short wait."""
        if time.monotonic() - self._failed_at < _ASK_AFTER_FAILURE_S:
            raise LdapUnavailable(f"LDAP source {self.name} could not be asked a moment ago")
        looking = self._looking.get(name)
        if looking is None:
            looking = self._looking[name] = asyncio.get_running_loop().create_task(self._look(name))
            looking.add_done_callback(lambda done: self._looked(name, done))
        done, _ = await asyncio.wait((looking,), timeout=_PATIENCE_S)
        if not done:
            self._failed_at = time.monotonic()
            raise LdapUnavailable(f"LDAP source {self.name} has not answered yet")
        return looking.result()

    async def _look(self, name: str) -> str | None:
        mark = await self._outbound.ask(self.name, self._entry_of, name)
        self._note(name, mark)
        return mark

    def _looked(self, name: str, looking: asyncio.Task[str | None]) -> None:
        del self._looking[name]
        if not looking.cancelled() and looking.exception() is not None:
            self._failed_at = time.monotonic()

    def _note(self, name: str, mark: str | None) -> None:
        self._known[name] = _Known(mark, time.monotonic())
        self._known.move_to_end(name)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def _sign_in(self, name: str | None, password: str) -> Person | None:
        """Without a name for nobody: the same questions, about somebody who can't be there."""
        searched = secrets.token_hex(12) if name is None else name
        with self._asked() as deadline, self._service(deadline) as searching:
            entry = self._find(searching, searched)
            # RFC 4513 5.1: a bind as somebody who isn't there fails like one with a wrong password.
            dn = entry["dn"] if entry else f"cn={secrets.token_hex(12)},{self._settings.user_base}"
            try:
                with self._connect(dn, password, deadline):
                    pass
            except _WrongPassword:
                return None
            if entry is None or name is None:
                return None
            return self._person(entry, name, self._groups(searching, entry, name))

    def _entry_of(self, name: str) -> str | None:
        """The mark of somebody's entry now; None when they are removed or disabled."""
        with self._asked() as deadline, self._service(deadline) as searching:
            entry = self._find(searching, name)
        return None if entry is None or _is_disabled(entry) else self._mark(entry)

    def _mark(self, entry: dict[str, Any]) -> str:
        state = (f"{attribute}={_values(entry, attribute)}" for attribute in _STATE)
        return entry_mark(self.name, entry["dn"].lower(), *state)

    @contextmanager
    def _asked(self) -> Iterator[Deadline]:
        """Raises LdapUnavailable for whatever goes wrong in between."""
        from ldap3.core.exceptions import LDAPException

        try:
            with Deadline() as deadline:
                yield deadline
        except (LDAPException, OSError) as error:
            raise LdapUnavailable(
                f"LDAP source {self.name} could not be asked: {type(error).__name__}"
            ) from error

    def _service(self, deadline: Deadline) -> ldap3.Connection:
        try:
            return self._connect(self._settings.bind_dn, self._bind_password, deadline)
        except _WrongPassword as error:
            raise LdapUnavailable(f"LDAP source {self.name} refuses its service account") from error

    def _connect(self, dn: str, password: str, deadline: Deadline) -> ldap3.Connection:
        """Raises _WrongPassword."""
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
        deadline.watch(connection.socket)
        if self._settings.start_tls:
            connection.start_tls()
        if not connection.bind():
            code = (connection.result or {}).get("result")
            connection.unbind()
            if code in _NOT_NOW:
                raise LdapUnavailable(f"LDAP source {self.name} is busy")
            raise _WrongPassword
        return connection

    def _find(self, connection: ldap3.Connection, name: str) -> dict[str, Any] | None:
        settings = self._settings
        wanted = [settings.name_attribute, settings.display_attribute, settings.email_attribute]
        wanted += [*_STATE, *_DISABLED]
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
            entry=self._mark(entry),
        )


class _WrongPassword(Exception):
    pass


def _is_disabled(entry: dict[str, Any]) -> bool:
    control, locked, locked_since = ((_values(entry, name) or [""])[0] for name in _DISABLED)
    if control.isdigit() and int(control) & _AD_DISABLED:
        return True
    return locked.lower() == "true" or locked_since == _LOCKED_FOR_GOOD


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
