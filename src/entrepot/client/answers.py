"""A registry's refusal turned into one error with its own words in it (distribution-spec: Error Codes)."""

from __future__ import annotations

import contextlib
import json
from typing import Final

import msgspec

from entrepot.client.challenge import parse_challenges
from entrepot.client.errors import (
    AccessDenied,
    AnswerTooLarge,
    AuthenticationFailed,
    ContentNotFound,
    RegistryFailed,
    RegistryMisbehaved,
    RegistryRefused,
    TooManyRequests,
)
from entrepot.client.retry import parse_retry_after
from entrepot.client.transport import Answer, ConnectionBroken
from entrepot.errors import EntrepotError, NotFound
from entrepot.wording import seconds

ERROR_BODY_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 500


class Subject(msgspec.Struct, frozen=True):
    """What a request is about, in the words of a message."""

    name: str
    """Repository as the user knows it: `registry.example/a/b`."""
    thing: str
    """`manifest for registry.example/a/b:1`, `blob sha256:…`."""
    action: str = "pull"
    """`pull`, `push` or `delete`."""
    registry: str = ""
    anonymous: bool = True
    """Whether no account was used."""
    missing: type[NotFound] = ContentNotFound
    """Class of the error for a 404."""


class ErrorDetail(msgspec.Struct, frozen=True):
    """First entry of an error body; empty strings when there was none."""

    code: str = ""
    message: str = ""

    def __str__(self) -> str:
        label = (
            self.code.replace("_", "").lower()
            if self.code == "TOOMANYREQUESTS"
            else self.code.replace("_", " ").lower()
        )
        return ": ".join(part for part in (label, self.message) if part)


def printable(text: str) -> str:
    """Foreign text without control characters, at a readable length."""
    return "".join(character if character.isprintable() else " " for character in text)[
        :_SHOWN_CHARACTERS
    ].strip()


def parse_errors(body: bytes) -> ErrorDetail:
    """`{"errors":[{"code","message"}]}`; also the shapes token servers use. Never raises."""
    with contextlib.suppress(ValueError, AttributeError, TypeError, IndexError, RecursionError):
        document = json.loads(body)
        errors = document.get("errors")
        if isinstance(errors, list) and errors:
            first = errors[0]
            return ErrorDetail(
                printable(str(first.get("code") or "")), printable(str(first.get("message") or ""))
            )
        message = document.get("details") or document.get("error_description") or document.get("message")
        code = document.get("error") or document.get("code") or ""
        return ErrorDetail(printable(str(code)), printable(str(message or "")))
    return ErrorDetail()


def read_errors(answer: Answer) -> ErrorDetail:
    """The error body of `answer`, which is closed. Its size is capped; an unreadable one is empty."""
    try:
        if answer.method == "HEAD":
            return ErrorDetail()
        return parse_errors(answer.read_capped(ERROR_BODY_BYTES, "an error"))
    except (ConnectionBroken, AnswerTooLarge, RegistryMisbehaved):
        return ErrorDetail()
    finally:
        answer.close()


def refusal(answer: Answer, subject: Subject) -> EntrepotError:
    """The error for an answer that is not what was asked for. Reads the body and closes the answer."""
    status = answer.status
    retry_after_s = parse_retry_after(answer.header("Retry-After"))
    detail = read_errors(answer)
    said = str(detail) or f"status {status}"
    if status in {401, 403} or detail.code in {"DENIED", "UNAUTHORIZED"}:
        known = status == 403 or is_insufficient(answer)
        return denied(subject, detail, known=known)
    if status == 404:
        return _not_found(subject, detail)
    if status == 429:
        return TooManyRequests(
            said if detail.code else f"toomanyrequests: {subject.registry} asks to slow down",
            retry_after_s=retry_after_s,
            hint=_wait_hint(retry_after_s),
        )
    if status >= 500 or status == 408:
        return RegistryFailed(
            f"{subject.thing}: {subject.registry} failed with status {status}"
            + (f": {detail}" if str(detail) else ""),
            retry_after_s=retry_after_s,
            hint="try again later; the registry's log has the cause",
        )
    return RegistryRefused(f"{subject.thing}: {subject.registry} answered {status}: {said}")


def is_insufficient(answer: Answer) -> bool:
    """Whether the registry knows who asks, and says that it is not enough (RFC 6750 §3.1)."""
    challenges = parse_challenges(answer.headers.getlist("WWW-Authenticate"))
    return any(challenge.parameters.get("error") == "insufficient_scope" for challenge in challenges)


_GENERIC: Final = "requested access to the resource is denied"
"""What most registries say whatever the reason is."""


def denied(subject: Subject, detail: ErrorDetail, *, known: bool) -> EntrepotError:
    """docker's sentence for a pull that is refused; for the rest, the registry's own words.

    `known`: the registry knows who asks; logging in again would not help.
    """
    said = str(detail)
    # A policy's sentence (quota, immutable tag, scan) is worth more than our guess about logging in.
    phrase = detail.message.lower() in {"", "authentication required"}
    if subject.action == "pull":
        suffix = f": {said}" if said else ""
        message = (
            f"pull access denied for {subject.name}, repository does not exist or may require "
            f"'entrepot login'{suffix}"
        )
    else:
        message = said or "unauthorized: authentication required"
        if known and phrase:
            message = f"denied: {_GENERIC}"
    if subject.anonymous and not (known and said and not phrase and _GENERIC not in said.lower()):
        return AccessDenied(message, hint=f"log in with: entrepot login {subject.registry}")
    if subject.action == "pull":
        return AccessDenied(message)
    if not known:
        return AuthenticationFailed(message, hint=f"log in again with: entrepot login {subject.registry}")
    if said and not phrase:  # a quota, an immutable tag: it says itself what to do
        return AccessDenied(message)
    return AccessDenied(message, hint=f"the account you have at {subject.registry} may not do this")


def _not_found(subject: Subject, detail: ErrorDetail) -> EntrepotError:
    said = str(detail)
    if detail.code == "NAME_UNKNOWN":
        message = f"repository {subject.name} not found: {said}"
    else:
        message = f"{subject.thing} not found" + (f": {said}" if said else "")
    hint = None
    if detail.code == "MANIFEST_UNKNOWN" and "@" not in subject.thing:
        hint = f"see which tags there are: entrepot tags {subject.name}"
    elif subject.anonymous and subject.action == "pull":
        hint = f"if it is private, log in with: entrepot login {subject.registry}"
    return subject.missing(message, hint=hint)


def _wait_hint(retry_after_s: float | None) -> str | None:
    if retry_after_s is None:
        return "wait, or log in: registries often allow more to accounts"
    return f"the registry asks to wait {seconds(retry_after_s)}"
