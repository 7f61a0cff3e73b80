"""Blobs of one repository, written over HTTP (distribution-spec: Pushing Blobs, Mounting Blobs).

* up to 64 KiB: `POST ?digest=` with the bytes; registries that do not know it answer 202 and get a PUT
* up to 1 MiB: POST, then PUT with the bytes, repeated by itself when the connection breaks
* larger: POST, then one PUT that streams. When it breaks, the registry is asked how much it has; the caller
  learns that from `offset` and comes again with a stream that starts there.

The registry verifies the digest before it shows the blob, so large bodies are not hashed a second time here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import msgspec

from entrepot.client.answers import Subject, parse_errors, read_errors, refusal
from entrepot.client.blobs import has_blob
from entrepot.client.errors import RegistryMisbehaved, UploadInterrupted
from entrepot.client.place import Place
from entrepot.client.retry import RETRIED_STATUSES, parse_retry_after
from entrepot.client.transport import BUFFER_BYTES, Answer, ConnectionBroken
from entrepot.content.protocols import BlobStream, PutResult
from entrepot.content.verify import SizeMismatch, VerifiedReader, verify_bytes
from entrepot.errors import EntrepotError
from entrepot.oci import distribution
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest

SINGLE_POST_BYTES = 64 * 1024
BUFFERED_BYTES = 1024 * 1024


class _Session(msgspec.Struct, frozen=True):
    """An upload the registry has open for us."""

    url: str
    offset: int
    """Bytes of it the registry holds."""


class _SourceFailed(Exception):
    """Carries an error of the stream being sent through urllib3, which would take it for its own."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Uploads:
    """Uploads into one repository. Thread safe; one blob is put by one thread at a time."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._sessions: dict[Digest, _Session] = {}

    def offset(self, digest: Digest) -> int:
        """Bytes the registry holds of an upload that was interrupted in this run."""
        session = self._get(digest)
        return session.offset if session is not None else 0

    def mount(self, descriptor: Descriptor, from_repository: str) -> bool:
        """Link a blob of another repository of this registry. False when the registry prefers the bytes."""
        query = urlencode({"mount": str(descriptor.digest), "from": from_repository}, safe=":/")
        path = f"{distribution.uploads_path(self._place.repository)}?{query}"
        try:
            answer = self._place.request("POST", path, also_pull=from_repository)
        except EntrepotError:
            # A token server may refuse the other repository's scope; moving the bytes still works.
            return False
        with answer:
            if answer.status == 201:
                answer.discard()
                return True
            if answer.status == 202:
                self._set(descriptor.digest, _Session(self._location(answer), 0))
                answer.discard()
            return False

    def put(
        self,
        descriptor: Descriptor,
        stream: BlobStream,
        *,
        offset: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> PutResult:
        """Send the bytes of `stream`, which starts at `offset`.

        Raises UploadInterrupted (go on from `offset`), VerificationFailed, AccessDenied, RegistryRefused.
        """
        held = self.offset(descriptor.digest)
        if offset and held != offset:
            raise UploadInterrupted(f"the upload of {descriptor.digest} is at byte {held}, not {offset}")
        if descriptor.size <= BUFFERED_BYTES and offset == 0:
            self._put_buffered(descriptor, stream)
            if progress is not None:
                progress(descriptor.size)
            return PutResult.STORED
        session = self._get(descriptor.digest) if offset == held else None
        if session is None:
            session = self._start(descriptor)
        self._put_streamed(descriptor, stream, session, progress)
        return PutResult.STORED

    # Small blobs

    def _put_buffered(self, descriptor: Descriptor, stream: BlobStream) -> None:
        data = bytearray()
        reader = VerifiedReader(stream, descriptor)
        while piece := reader.read(BUFFERED_BYTES):
            data += piece
        verify_bytes(bytes(data), descriptor)
        for restart in (True, False):
            if self._send_buffered(descriptor, bytes(data), last=not restart):
                return

    def _send_buffered(self, descriptor: Descriptor, data: bytes, *, last: bool) -> bool:
        """False when the upload got lost and starting over may help."""
        session = self._get(descriptor.digest)
        self._drop(descriptor.digest)
        if session is None and len(data) <= SINGLE_POST_BYTES:
            answer = self._post(descriptor, data)
            if answer.status == 201:
                self._check_stored(answer, descriptor)
                return True
            session = self._opened(answer, descriptor)
        elif session is None:
            session = self._start(descriptor)
        answer = self._place.request("PUT", _with_digest(session.url, descriptor), headers=_OCTETS, body=data)
        if answer.status in {404, 416} and not last:
            # The answer to a first try may have been lost after the registry had stored the blob.
            answer.discard()
            return has_blob(self._place, descriptor)
        self._finish(answer, descriptor)
        return True

    # Large blobs

    def _put_streamed(
        self,
        descriptor: Descriptor,
        stream: BlobStream,
        session: _Session,
        progress: Callable[[int], None] | None,
    ) -> None:
        remaining = descriptor.size - session.offset
        headers = {**_OCTETS, "Content-Length": str(remaining)}
        if session.offset:
            headers["Content-Range"] = f"{session.offset}-{descriptor.size - 1}"
        try:
            answer = self._place.session.send_once(
                "PUT",
                _with_digest(session.url, descriptor),
                self._place.authorizer,
                self._place.grants(),
                headers,
                _chunks(stream, descriptor, session.offset, progress),
            )
        except _SourceFailed as failed:
            self._drop(descriptor.digest)
            raise failed.error from None
        except ConnectionBroken as error:
            raise self._interrupted(descriptor, session, error.reason) from error
        if answer.status in RETRIED_STATUSES or answer.status in {401, 404, 416}:
            retry_after_s = parse_retry_after(answer.header("Retry-After"))
            reason = f"{answer.status} {read_errors(answer)}".strip()
            raise self._interrupted(descriptor, session, reason, retry_after_s=retry_after_s)
        self._drop(descriptor.digest)
        self._finish(answer, descriptor)

    def _interrupted(
        self, descriptor: Descriptor, session: _Session, reason: str, *, retry_after_s: float | None = None
    ) -> UploadInterrupted:
        """Ask what the registry has, note it for the next try, and say what happened."""
        self._drop(descriptor.digest)
        message = f"the upload of {descriptor.digest} to {self._place.name} was interrupted: {reason}"
        interrupted = UploadInterrupted(message, retry_after_s=retry_after_s)
        try:
            answer = self._place.request("GET", session.url)
        except EntrepotError:
            return interrupted
        with answer:
            held = answer.header("Range")
            if answer.status != 204 or held is None:
                return interrupted
            try:
                offset = distribution.parse_upload_range(held)
                url = self._location(answer) if answer.header("Location") else session.url
            except EntrepotError:
                return interrupted
            answer.discard()
        if 0 < offset < descriptor.size:
            self._set(descriptor.digest, _Session(url, offset))
        return interrupted

    # Requests

    def _post(self, descriptor: Descriptor, data: bytes | None) -> Answer:
        query: dict[str, str] = {}
        if data is not None:
            query["digest"] = str(descriptor.digest)
        if descriptor.digest.algorithm != "sha256":
            query["digest-algorithm"] = descriptor.digest.algorithm
        path = distribution.uploads_path(self._place.repository)
        if query:
            path += "?" + urlencode(query, safe=":")
        return self._place.request("POST", path, headers=dict(_OCTETS) if data else {}, body=data or b"")

    def _start(self, descriptor: Descriptor) -> _Session:
        return self._opened(self._post(descriptor, None), descriptor)

    def _opened(self, answer: Answer, descriptor: Descriptor) -> _Session:
        with answer:
            if answer.status != 202:
                raise refusal(answer, self._subject(descriptor))
            session = _Session(self._location(answer), 0)
            answer.discard()
        return session

    def _location(self, answer: Answer) -> str:
        """Where the upload goes on; on the registry itself or nowhere."""
        place = answer.header("Location")
        if not place:
            raise RegistryMisbehaved(
                f"registry {self._place.registry} does not say where the upload goes (Location)"
            )
        return self._place.session.on_registry(place, "an upload")

    def _finish(self, answer: Answer, descriptor: Descriptor) -> None:
        with answer:
            if answer.status in {201, 204}:
                self._check_stored(answer, descriptor)
                return
            if answer.status == 400:
                body = parse_errors(answer.read_capped(65536, "an error"))
                if body.code == "DIGEST_INVALID":
                    raise RegistryMisbehaved(
                        f"registry {self._place.registry} finds another digest than {descriptor.digest} "
                        "in the bytes it was sent",
                        hint="the copy they came from may be damaged; remove the image and pull it again",
                    )
                if body.code == "SIZE_INVALID":
                    raise SizeMismatch(descriptor.digest, descriptor.size, 0)
            raise refusal(answer, self._subject(descriptor))

    def _check_stored(self, answer: Answer, descriptor: Descriptor) -> None:
        promised = answer.header(distribution.CONTENT_DIGEST)
        answer.discard()
        if promised and promised != str(descriptor.digest):
            raise RegistryMisbehaved(
                f"registry {self._place.registry} stored {descriptor.digest} as {promised[:140]}"
            )

    def _subject(self, descriptor: Descriptor) -> Subject:
        return self._place.subject(f"blob {self._place.shown(descriptor.digest)}", action="push")

    # Sessions

    def _get(self, digest: Digest) -> _Session | None:
        with self._lock:
            return self._sessions.get(digest)

    def _set(self, digest: Digest, session: _Session) -> None:
        with self._lock:
            self._sessions[digest] = session

    def _drop(self, digest: Digest) -> None:
        with self._lock:
            self._sessions.pop(digest, None)


_OCTETS = {"Content-Type": "application/octet-stream"}


def _with_digest(url: str, descriptor: Descriptor) -> str:
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}digest={descriptor.digest}"


def _chunks(
    stream: BlobStream, descriptor: Descriptor, offset: int, progress: Callable[[int], None] | None
) -> Iterator[memoryview]:
    """Exactly the promised number of bytes, from one buffer that is used again for each piece."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    remaining = descriptor.size - offset
    while remaining:
        try:
            count = stream.readinto(buffer[: min(remaining, len(buffer))])
            if not count:
                raise SizeMismatch(descriptor.digest, descriptor.size, descriptor.size - remaining)
            # Before the last piece goes out: afterwards the registry would have a whole blob.
            if count == remaining and stream.read(1):
                raise SizeMismatch(descriptor.digest, descriptor.size, descriptor.size + 1)
        except BaseException as error:
            raise _SourceFailed(error) from error
        remaining -= count
        yield buffer[:count]
        if progress is not None:
            progress(count)
