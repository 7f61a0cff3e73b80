"""Signing in and out with a browser: with a password, a set-up link, or at an OpenID Connect provider.

Nobody needs a right for this: what they bring along is asked instead. What has to be remembered while
somebody is at a provider is sealed and kept by their browser: no state here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from entrepot.errors import EntrepotError
from entrepot.server.access.accounts_mode import AccountsControl
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import InvalidCredentials, PermitRefused, SignInCancelled, Unknown
from entrepot.server.access.decision.model import Action, Principal, PrincipalKind
from entrepot.server.access.directory.accounts import Account, get_account
from entrepot.server.access.directory.first_start import finish_setup
from entrepot.server.access.secrets.passwords import MIN_PASSWORD_LENGTH
from entrepot.server.access.secrets.sealing import SealBroken
from entrepot.server.access.secrets.sessions import (
    create_session,
    csrf_token,
    csrf_token_is_right,
    end_session,
)
from entrepot.server.access.sign_in.linking import provision
from entrepot.server.access.sign_in.sources.oidc import OidcProvider, SignInAttempt
from entrepot.server.control.passwords import hash_new_password
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change
from entrepot.server.db.clock import SECOND

__all__ = [
    "ATTEMPT_LIFE_S",
    "MIN_PASSWORD_LENGTH",
    "NotAUser",
    "Provider",
    "SignedIn",
    "Visitor",
    "begin_at_provider",
    "begin_session",
    "choose_password",
    "csrf_token",
    "csrf_token_is_right",
    "find_link_holder",
    "finish_at_provider",
    "list_providers",
    "open_visitor",
    "sign_in",
    "sign_out",
]

ATTEMPT_LIFE_S: Final = 600
"""So long somebody may be at a provider."""
_BEGUN_ELSEWHERE: Final = "this browser did not begin the sign-in; start again"


class NotAUser(InvalidCredentials):
    """A token's or a robot's secret, where a user's password is asked for."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody with a new session."""

    who: Principal
    session: str
    """The cookie's value."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Somewhere to sign in."""

    name: str
    title: str
    """For people."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """What somebody who is at a provider has taken along."""

    state: str
    nonce: str
    verifier: str
    then: str
    """Where they wanted to go."""
    begun_at: int
    """Microseconds since 1970."""


async def sign_in(services: Services, actor: Actor, *, name: str, password: str, user_agent: str) -> SignedIn:
    """Raises InvalidCredentials (the same whatever was wrong), NotAUser, TooManyAttempts, NotKnownNow,
    AccessDenied in open mode.
    """
    who = await _accounts(services).authenticator.basic(name, password, address=actor.address)
    if who.kind is not PrincipalKind.USER or who.credential != "password":
        raise NotAUser("sign in here with a user's password")
    return await begin_session(services, actor, who, user_agent)


async def begin_session(services: Services, actor: Actor, who: Principal, user_agent: str) -> SignedIn:
    """For somebody who has just proven who they are."""

    def do(t: Transaction) -> SignedIn:
        return _begin(t, who, user_agent)

    return await change(services, actor, do)


async def sign_out(services: Services, actor: Actor) -> None:
    """The session that the actor came with is worth nothing from then on."""

    def do(t: Transaction) -> None:
        t.require(Action.MANAGE_SELF)
        end_session(t.connection, t.actor.principal, t.now)

    await change(services, actor, do)


async def find_link_holder(services: Services, actor: Actor, token: str) -> Principal:
    """Whom a set-up link is for. Raises InvalidCredentials, TooManyAttempts; AccessDenied in open mode."""
    return await _accounts(services).authenticator.secret(token, kinds=("set",), address=actor.address)


async def choose_password(
    services: Services, actor: Actor, *, token: str, password: str, user_agent: str
) -> SignedIn:
    """Uses the link up and signs in. Raises what `find_link_holder` does, InvalidPassword."""
    holder = await find_link_holder(services, actor, token)
    hashed = await hash_new_password(services, password, holder.name)

    def do(t: Transaction) -> SignedIn:
        finish_setup(t.connection, holder, hashed, t.actor.address, t.now)
        account = get_account(t.connection, holder.name, kind="user")
        return _begin(t, _user(account, credential="password"), user_agent)

    return await change(services, actor, do)


def list_providers(services: Services) -> list[Provider]:
    """By name; none in open mode."""
    found = services.accounts.sources.providers if services.accounts is not None else None
    return [Provider(name, one.settings.title or name) for name, one in sorted((found or {}).items())]


async def begin_at_provider(
    services: Services, provider: str, *, redirect_uri: str, then: str
) -> tuple[str, str]:
    """Where to send the browser, and what it has to bring back.

    Raises Unknown, OidcUnavailable, SourceBusy; AccessDenied in open mode.
    """
    found = _provider(services, provider)
    url, attempt = await _accounts(services).outbound.ask(provider, found.begin, redirect_uri)
    kept = json.dumps([attempt.state, attempt.nonce, attempt.verifier, then, services.now])
    return url, services.seal.seal(kept.encode(), context=_context(provider)).hex()


def open_visitor(services: Services, provider: str, sealed: str) -> Visitor:
    """What this browser took along. Raises InvalidCredentials, Unknown; AccessDenied in open mode."""
    _provider(services, provider)
    try:
        kept = services.seal.open(bytes.fromhex(sealed), context=_context(provider))
        return Visitor(*json.loads(kept))
    except (SealBroken, ValueError, TypeError, EntrepotError):
        raise InvalidCredentials(_BEGUN_ELSEWHERE) from None


async def finish_at_provider(
    services: Services,
    actor: Actor,
    provider: str,
    visitor: Visitor,
    *,
    state: str,
    code: str,
    problem: str,
    redirect_uri: str,
    user_agent: str,
) -> SignedIn:
    """Signs in whoever the provider vouches for, and makes them a user when they are new.

    `problem` is the provider's own word for what went wrong; empty: nothing.
    Raises InvalidCredentials, SignInCancelled, NameTaken, NotAdmitted, OidcUnavailable, Unknown.
    """
    found = _provider(services, provider)
    if visitor.state != state or services.now - visitor.begun_at > ATTEMPT_LIFE_S * SECOND:
        raise InvalidCredentials(_BEGUN_ELSEWHERE)
    if problem == "access_denied":  # RFC 6749 4.1.2.1
        raise SignInCancelled("the sign-in was cancelled at the provider")
    control = _accounts(services)
    attempt = SignInAttempt(visitor.state, visitor.nonce, visitor.verifier)
    tried = ""
    try:
        person = await control.outbound.ask(provider, found.finish, attempt, code, redirect_uri)
        tried = person.name.lower()

        def do(t: Transaction) -> SignedIn | None:
            account = provision(t.connection, provider, person, t.now, t.actor.address)
            # What the provider says of somebody who may not come in is kept, too: they may be no admin there.
            return _begin(t, _user(account, credential="oidc"), user_agent) if account.enabled else None

        done = await change(services, actor, do)
        if done is None:
            raise InvalidCredentials("this account cannot be used")
    except InvalidCredentials:
        control.authenticator.failures.note(tried, actor.address, "oidc", source=provider)
        raise
    return done


def _begin(t: Transaction, who: Principal, user_agent: str) -> SignedIn:
    return SignedIn(who, str(create_session(t.connection, who, t.actor.address, user_agent, t.now)))


def _user(account: Account, *, credential: str) -> Principal:
    return Principal(
        kind=PrincipalKind.USER,
        name=account.name,
        id=account.id,
        epoch=account.epoch,
        credential=credential,
    )


def _accounts(services: Services) -> AccountsControl:
    if services.accounts is None:
        raise PermitRefused("this registry has no accounts")
    return services.accounts


def _provider(services: Services, name: str) -> OidcProvider:
    found = (_accounts(services).sources.providers or {}).get(name)
    if found is None:
        raise Unknown(f"no provider is called {name}")
    return found


def _context(provider: str) -> str:
    return f"sign-in at {provider}"
