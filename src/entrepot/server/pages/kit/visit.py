"""One request for a page: who asks, what they sent, and how they are answered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.enums import MediaType

from entrepot.server.access.decision.errors import PermitRefused
from entrepot.server.access.decision.model import Action, PrincipalKind, Resource
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller
from entrepot.server.pages.kit.form_body import form_fields
from entrepot.server.pages.kit.form_key import form_cookie, form_key, form_token, new_form_key
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.headers import PAGE_HEADERS
from entrepot.server.pages.kit.render import render

__all__ = ["Note", "PageVisit", "provide_visit", "remember_visit", "visit_of"]

T = TypeVar("T")
_NOTE_COOKIE: Final = "entrepot-note"
_NOTE_LIFE_S: Final = 120
_SCOPE_KEY: Final = "entrepot.visit"
_REGISTRY: Final = Resource()


@dataclass(frozen=True, slots=True)
class Note:
    """What the next page says first, as `3 tags deleted`, perhaps with a button that takes it back."""

    text: str
    undo: str = ""
    """The path the button posts to; empty: no button."""
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class PageVisit:
    """Lives as long as the request."""

    services: Services
    caller: Caller
    request: Request[Any, Any, Any]
    is_operator: bool
    """May see the registry's own pages."""
    key: str
    """What forms of this visitor are bound to: the session, or the form cookie."""
    key_is_new: bool

    @classmethod
    async def begin(cls, services: Services, caller: Caller, request: Request[Any, Any, Any]) -> PageVisit:
        key = caller.session or form_key(request.cookies, caller.scheme)
        return cls(
            services=services,
            caller=caller,
            request=request,
            is_operator=await services.may(caller, Action.READ_SYSTEM, _REGISTRY),
            key=key or new_form_key(),
            key_is_new=key is None,
        )

    # --- who

    @property
    def is_open(self) -> bool:
        """The registry has no accounts."""
        return self.services.accounts is None

    @property
    def is_signed_in(self) -> bool:
        return self.caller.principal.kind is PrincipalKind.USER

    @property
    def name(self) -> str:
        return self.caller.principal.name

    @property
    def host(self) -> str:
        """What stands before an image's name."""
        return urlsplit(self.caller.base_url).netloc

    @property
    def now(self) -> int:
        return self.services.now

    @property
    def path(self) -> str:
        """The page's own path with its query, as the address bar has it."""
        sent: Any = self.request.scope.get("entrepot.request")
        if sent is None:
            return str(self.request.scope["path"])
        query = sent.query_string.decode("latin-1")
        return f"{sent.path}?{query}" if query else str(sent.path)

    def resource(self, *, project: str | None = None, repository: str | None = None) -> Resource:
        return Resource(project=project, repository=repository)

    async def may(self, action: Action, *, project: str | None = None, repository: str | None = None) -> bool:
        return await self.services.may(self.caller, action, Resource(project=project, repository=repository))

    async def visible(self) -> Visible:
        return await self.services.visible(self.caller)

    def require_accounts(self) -> None:
        """Raises AccessDenied in open mode."""
        if self.is_open:
            raise PermitRefused("this registry is open: it has no accounts", rule="open-mode")

    # --- what they sent

    async def form(self) -> PageForm:
        return PageForm(await form_fields(self.request))

    def query(self, name: str, *, longest: int = 255) -> str:
        return str(self.request.query_params.get(name) or "").strip()[:longest]

    def choice(self, name: str, among: tuple[str, ...]) -> str:
        """One of `among`; the first when the query has another or none."""
        value = self.query(name)
        return value if value in among else among[0]

    def number(self, name: str, *, default: int = 0) -> int:
        text = self.query(name, longest=20)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else default

    # --- the answer

    def render(self, template: str, *, status: int = 200, **context: Any) -> Response[str]:
        """A page; 503, and when to send it again, with a form that could not be taken just now."""
        note = self._note()
        text = render(template, self.now, visit=self, note=note, token=form_token(self.key), **context)
        cookies = [form_cookie(self.key, self.caller.scheme)] if self.key_is_new else []
        if note is not None:
            cookies.append(Cookie(key=_NOTE_COOKIE, value="", max_age=0, path="/"))
        headers = dict(PAGE_HEADERS)
        forms = [value for value in context.values() if isinstance(value, PageForm)]
        later = next((form.unavailable for form in forms if form.unavailable is not None), None)
        if later is not None:
            status, headers["Retry-After"] = 503, str(max(1, round(later.retry_after_s or 5)))
        return Response(text, status_code=status, media_type=MediaType.HTML, headers=headers, cookies=cookies)

    def go(
        self, path: str, note: Note | str | None = None, *, cookies: list[Cookie] | None = None
    ) -> Response[Any]:
        """To another page, which then says the note."""
        answer: Response[Any] = Response(
            None, status_code=303, headers={**PAGE_HEADERS, "Location": path}, cookies=cookies
        )
        if note is not None:
            answer.set_cookie(
                Cookie(
                    key=_NOTE_COOKIE,
                    value=self._pack(note if isinstance(note, Note) else Note(note)),
                    max_age=_NOTE_LIFE_S,
                    path="/",
                    httponly=True,
                    secure=self.caller.scheme == "https",
                    samesite="strict",
                )
            )
        return answer

    def _pack(self, note: Note) -> str:
        content = json.dumps([note.text, note.undo, note.fields]).encode()
        return base64.urlsafe_b64encode(self._seal(content) + content).decode()

    def _note(self) -> Note | None:
        packed = self.request.cookies.get(_NOTE_COOKIE, "")
        if not packed:
            return None
        try:
            content = base64.urlsafe_b64decode(packed)
        except ValueError:
            return None
        if not hmac.compare_digest(content[:32], self._seal(content[32:])):
            return None
        return Note(*json.loads(content[32:]))

    def _seal(self, content: bytes) -> bytes:
        """Only this visitor's own note is shown."""
        return hmac.new(b"note" + self.key.encode(), content, hashlib.sha256).digest()


def remember_visit(request: Request[Any, Any, Any], visit: PageVisit) -> None:
    cast("dict[str, Any]", request.scope)[_SCOPE_KEY] = visit


def visit_of(request: Request[Any, Any, Any]) -> PageVisit | None:
    """None before the guard has seen the request."""
    return cast("PageVisit | None", request.scope.get(_SCOPE_KEY))


def provide_visit(request: Request[Any, Any, Any]) -> PageVisit:
    """For handlers."""
    found = visit_of(request)
    assert found is not None
    return found
