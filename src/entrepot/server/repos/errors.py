"""What a registry refuses, as the services say it; the data plane turns these into the wire's codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from entrepot.errors import Conflict, Denied, InvalidInput, LimitExceeded, NotFound
from entrepot.wording import human_size

__all__ = [
    "BlobTooLarge",
    "BlobUnknown",
    "ContentMismatch",
    "ManifestBlobUnknown",
    "ManifestUnknown",
    "NameUnknown",
    "PreconditionFailed",
    "ProxyTakesNoPush",
    "QuotaExceeded",
    "RangeInvalid",
    "SizeInvalid",
    "TagImmutable",
    "TooManyTags",
    "TooManyUploads",
    "UploadBusy",
    "UploadUnknown",
]


class NameUnknown(NotFound):
    """No such repository."""

    code: ClassVar[str] = "repository-unknown"

    def __init__(self, repository: str) -> None:
        super().__init__(f"repository {repository} is not here", hint="it is created by the first push")
        self.repository = repository


class BlobUnknown(NotFound):
    """The repository does not have the blob; other repositories are not looked at."""

    code: ClassVar[str] = "blob-unknown"

    def __init__(self, repository: str, digest: object) -> None:
        super().__init__(f"blob {digest} is not in {repository}")
        self.repository = repository
        self.digest = str(digest)


class ManifestUnknown(NotFound):
    """Neither a tag nor a manifest of that name in the repository."""

    code: ClassVar[str] = "manifest-unknown"

    def __init__(self, repository: str, reference: object) -> None:
        super().__init__(f"manifest {reference} is not in {repository}")
        self.repository = repository
        self.reference = str(reference)


class ManifestBlobUnknown(NotFound):
    """A manifest refers to content that the repository does not have; push that first."""

    code: ClassVar[str] = "manifest-blob-unknown"

    def __init__(self, repository: str, digests: Sequence[str]) -> None:
        more = f" and {len(digests) - 1} more" if len(digests) > 1 else ""
        super().__init__(
            f"the manifest refers to {digests[0]}{more}, not in {repository}; push that first",
        )
        self.digests = tuple(digests)
        self.digest = digests[0]


class ProxyTakesNoPush(Denied):
    """The project shows what another registry has; nothing is pushed there."""

    code: ClassVar[str] = "proxy-takes-no-push"

    def __init__(self, repository: str) -> None:
        project = repository.partition("/")[0]
        super().__init__(
            f"{project} is a proxy project: what is in it comes from another registry",
            hint="push to another project",
        )
        self.repository = repository


class UploadUnknown(NotFound):
    """The upload was finished, cancelled or has expired; begin another one."""

    code: ClassVar[str] = "upload-unknown"

    def __init__(self, upload: str) -> None:
        super().__init__(f"upload {upload} is not known: finished, cancelled or expired; begin a new one")
        self.upload = upload


class UploadBusy(Conflict):
    """Another request writes to this upload now. `offset` is what had been received when it began."""

    code: ClassVar[str] = "upload-busy"

    def __init__(self, upload: str, offset: int) -> None:
        super().__init__(f"another request is writing to upload {upload}; wait for it to end")
        self.upload = upload
        self.offset = offset


class RangeInvalid(Conflict):
    """The chunk does not begin where the upload ends. `offset` is where it has to."""

    code: ClassVar[str] = "upload-range-invalid"

    def __init__(self, upload: str, offset: int, start: int) -> None:
        super().__init__(
            f"upload {upload} has {offset} bytes; a chunk that starts at {start} does not fit",
            hint=f"go on from byte {offset}",
        )
        self.upload = upload
        self.offset = offset


class SizeInvalid(InvalidInput):
    """The body is not as long as its Content-Length said. `offset`: the bytes of the upload that were
    kept.
    """

    code: ClassVar[str] = "upload-size-invalid"

    def __init__(self, expected: int, received: int, *, offset: int = 0) -> None:
        super().__init__(
            f"{expected} bytes were announced, {received} arrived",
            hint="send it again, or go on from where GET on the upload says",
        )
        self.offset = offset


class ContentMismatch(InvalidInput):
    """The uploaded bytes have another digest than the one given. The upload stays and can be cancelled."""

    code: ClassVar[str] = "upload-digest-mismatch"

    def __init__(self, wanted: object, found: object) -> None:
        super().__init__(
            f"the content has digest {found}, not {wanted}", hint="nothing was stored; send it again"
        )
        self.wanted = str(wanted)
        self.found = str(found)


class BlobTooLarge(LimitExceeded):
    """More bytes than a blob may have; the upload is gone."""

    code: ClassVar[str] = "blob-too-large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"a blob may have at most {human_size(limit)} here",
            hint="split the layer, or have limits.blob_bytes raised",
        )
        self.limit = limit


class TooManyUploads(LimitExceeded):
    """One principal writes to too many uploads at once."""

    code: ClassVar[str] = "too-many-uploads"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"at most {limit} uploads may run at once for one account", hint="wait for some to end"
        )
        self.limit = limit


class TooManyTags(LimitExceeded):
    """More tags in one push than are taken."""

    code: ClassVar[str] = "too-many-tags"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"at most {limit} tags may be given to a manifest in one push",
            hint="give the others in another one",
        )
        self.limit = limit


class PreconditionFailed(Conflict):
    """If-Match or If-None-Match did not hold. `current` is the digest that is there, None if none is."""

    code: ClassVar[str] = "precondition-failed"

    def __init__(self, what: str, current: str | None) -> None:
        there = f"is {current}" if current else "does not exist"
        super().__init__(f"{what} {there}, which is not what the request asked for; nothing was changed")
        self.current = current


class QuotaExceeded(Denied):
    """The project has no room left."""

    code: ClassVar[str] = "quota-exceeded"

    def __init__(self, project: str, quota: int) -> None:
        super().__init__(
            f"project {project} would have more than its {human_size(quota)}",
            hint="delete what is not needed, or ask for a larger quota",
        )


class TagImmutable(Denied):
    """A rule keeps the tag as it is."""

    code: ClassVar[str] = "tag-immutable"

    def __init__(self, repository: str, tag: str, digest: str, rule: str, doing: str) -> None:
        super().__init__(
            f"tag {tag} of {repository} is immutable and can't be {doing}: rule {rule} keeps it at {digest}",
            hint="push under another tag" if doing == "overwritten" else None,
        )
        self.digest = digest
