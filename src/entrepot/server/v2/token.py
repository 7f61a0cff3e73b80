"""The token service: `GET /token` (Basic or nobody) and `POST /token` (form), as docker, containerd, podman
and crane ask it.

Bad credentials are 401, what can't be read is 400; rights that are missing are never an error but a token
that does less. Both `token` and `access_token` hold the token, since clients read one or the other.
distribution: "Token Authentication", "OAuth2 Token Authentication".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from entrepot.errors import EntrepotError, InvalidInput, Unauthorized
from entrepot.observability.logs import get_log
from entrepot.oci.distribution import ErrorCode
from entrepot.server.access.accounts_mode import AccountsControl
from entrepot.server.access.decision.errors import InvalidCredentials
from entrepot.server.access.decision.model import ANONYMOUS, Principal
from entrepot.server.access.decision.scopes import WantedScope, parse_scopes
from entrepot.server.access.secrets.issuing import IssuedToken
from entrepot.server.access.secrets.refresh import mint_refresh_token
from entrepot.server.access.sign_in.authenticator import parse_basic
from entrepot.server.http import refusals
from entrepot.server.http.request import ClientGone, HttpRequest
from entrepot.server.http.response import INERT, JSON, Response, number
from entrepot.server.v2 import errors

__all__ = ["TOKEN_PATH", "token_endpoint"]

log = get_log(__name__)

TOKEN_PATH: Final = "/token"  # noqa: S105 - a path
MAX_FORM_BYTES: Final = 64 * 1024
MAX_FORM_FIELDS: Final = 200
Rename = Callable[[str, str | None], Awaitable[str]]
_PULL: Final = frozenset({"pull"})
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"


async def token_endpoint(access: object, request: HttpRequest, *, rename: Rename) -> Response:
    """Answer either form. `access` without accounts has no token service: 404.

    `rename`: what a mirror's client calls a repository, to our name.
    """
    request.route = TOKEN_PATH
    if not isinstance(access, AccountsControl):
        return refusals.refusal(
            404, ErrorCode.UNSUPPORTED, "this registry has no accounts and needs no tokens"
        )
    try:
        if request.method in {"GET", "HEAD"}:
            return await _get(access, request, rename)
        if request.method == "POST":
            return await _post(access, request, rename)
        return refusals.refusal(405, ErrorCode.UNSUPPORTED, "ask for tokens with GET or POST")
    except ClientGone:
        raise
    except Unauthorized as error:
        return refusals.unauthorized(error.message, 'Basic realm="entrepot"')
    except EntrepotError as error:
        return errors.response_to(error, request)
    except Exception:
        log.exception("token request failed", request_id=request.id)
        return refusals.internal(request.id)


async def _get(access: AccountsControl, request: HttpRequest, rename: Rename) -> Response:
    who = await _basic(access, request)
    request.principal = who
    service = request.parameter("service")
    wanted = await _wanted(request.parameters("scope"), rename)
    issued = await access.issue_token(who, wanted, service=service)
    refresh = None
    if request.parameter("offline_token") == "true":
        refresh = await _refresh_token(access, who, request.parameter("client_id"))
    return _answer(issued, refresh)


async def _wanted(scopes: list[str], rename: Rename) -> list[WantedScope]:
    """docker asks for a token before it asks its mirror, by the same name."""
    return [
        replace(scope, name=await rename(scope.name, None))
        if scope.kind == "repository" and scope.actions == _PULL
        else scope
        for scope in parse_scopes(scopes)
    ]


async def _basic(access: AccountsControl, request: HttpRequest) -> Principal:
    authorization = request.header(b"authorization")
    if authorization is None:
        return ANONYMOUS
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidCredentials("sign in with Basic here")
    name, password = parse_basic(value.strip())
    return await access.authenticator.basic(name, password, address=request.address or None)


async def _post(access: AccountsControl, request: HttpRequest, rename: Rename) -> Response:
    body = await request.body(limit=MAX_FORM_BYTES, what="the form")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        raise InvalidInput("the form can't be read") from None
    form = dict(reversed(pairs))
    who, may_refresh = await _granted(access, request, form)
    request.principal = who
    scopes = [value for key, value in pairs if key == "scope"]
    wanted = await _wanted(scopes, rename)
    issued = await access.issue_token(who, wanted, service=form.get("service"))
    refresh = None
    if may_refresh and form.get("access_type") == "offline":
        refresh = await _refresh_token(access, who, form.get("client_id"))
    return _answer(issued, refresh, with_scope=True)


async def _granted(
    access: AccountsControl, request: HttpRequest, form: dict[str, str]
) -> tuple[Principal, bool]:
    """Who the form speaks for, and whether it may ask for a refresh token."""
    address = request.address or None
    grant = form.get("grant_type")
    if grant == "password":
        who = await access.authenticator.basic(
            form.get("username", ""), form.get("password", ""), address=address
        )
        return who, True
    if grant == "refresh_token":
        who = await access.authenticator.secret(
            form.get("refresh_token", ""), kinds=("ref",), address=address
        )
        return who, False
    if grant == _EXCHANGE:
        robot = form.get("username") or form.get("account") or None
        return await access.authenticator.workload(
            form.get("subject_token", ""), robot=robot, address=address
        ), False
    raise InvalidInput("grant_type is not one of password, refresh_token, token-exchange")


async def _refresh_token(access: AccountsControl, who: Principal, client: str | None) -> str | None:
    if who.credential != "password":
        return None
    if access.catalog.read_only is not None:
        return None
    secret = await access.catalog.write(mint_refresh_token, who, client or "", access.catalog.clock.now())
    return str(secret.text)


def _answer(issued: IssuedToken, refresh: str | None, *, with_scope: bool = False) -> Response:
    body: dict[str, Any] = {
        "token": issued.text,
        "access_token": issued.text,
        "expires_in": issued.life_s,
        "issued_at": datetime.fromtimestamp(issued.issued_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if with_scope:
        body["scope"] = issued.scope
    if refresh is not None:
        body["refresh_token"] = refresh
    encoded = msgspec.json.encode(body)
    headers = [JSON, *INERT, (b"cache-control", b"no-store"), (b"content-length", number(len(encoded)))]
    return Response(200, headers, encoded)
