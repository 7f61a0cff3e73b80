"""The storage of Docker Registry ("distribution"), version 2 and 3, and of what is built on it (Harbor).

Below its root directory::

    docker/registry/v2/
      repositories/<name>/_manifests/revisions/<alg>/<hex>/link      a manifest that the repository has
      repositories/<name>/_manifests/tags/<tag>/current/link         the digest a tag points to
      repositories/<name>/_layers/<alg>/<hex>/link                   a blob that the repository serves
      blobs/<alg>/<first two digits>/<hex>/data                      the bytes, of manifests too

A link is a file with a digest in it. The registry serves what is linked; what is not, it has deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from entrepot.content.protocols import ManifestBytes
from entrepot.errors import EntrepotError, NotFound
from entrepot.oci import strictjson
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, InvalidDigest
from entrepot.oci.reference import InvalidReference, parse_repository, parse_tag
from entrepot.server.backup.blob_copy import store_verified
from entrepot.server.movement.importers.files import StoredFiles
from entrepot.server.movement.importers.origin import AbsentAtOrigin, Left, OriginContents, OriginUnreadable
from entrepot.server.storage.store import BlobStore

__all__ = ["DistributionTree", "find_root"]

_LINK_BYTES: Final = 1024
_MANIFEST_BYTES: Final = 32 << 20
"""What is read to be refused in words; a manifest may have 4 MiB."""
_INSIDE: Final = ("", "docker/registry/v2", "registry/v2", "v2")
_AT_ONCE: Final = 16


async def find_root(files: StoredFiles, where: str) -> str:
    """Where `repositories` is, below what was named: the root directory or any folder on the way.

    Raises NotFound.
    """
    for inside in _INSIDE:
        if "repositories" in await files.folders(inside):
            return f"{inside}/" if inside else ""
    raise NotFound(
        f"{where} is no storage of Docker Registry: there is no docker/registry/v2/repositories in it",
        hint="name its rootdirectory; for a bucket also the prefix (rootdirectory of storage.s3)",
    )


class DistributionTree:
    """See Origin. `may_link`: the other registry is retired, so its files may become ours."""

    def __init__(self, files: StoredFiles, root: str, *, may_link: bool = False) -> None:
        self._files = files
        self._root = root
        self._may_link = may_link

    async def repositories(self) -> AsyncGenerator[str | Left, None]:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                inside = await self._files.folders(f"{self._root}repositories/{folder}".rstrip("/"))
            except OriginUnreadable as error:
                yield Left(_shown(folder), error.message)
                continue
            if "_manifests" in inside:
                yield _checked(folder)
            elif any(name.startswith("_") for name in inside):
                yield Left(_shown(folder), "it has no manifests, only blobs and uploads")
            below = [name for name in inside if not name.startswith("_")]
            waiting += [f"{folder}/{name}" if folder else name for name in reversed(below)]

    async def contents(self, repository: str) -> OriginContents:
        found, manifests = OriginContents(), self._place(repository, "_manifests")
        listed = await self._links(f"{manifests}/revisions", found, repository)
        found.manifests = sorted(listed)
        found.blobs = await self._links(self._place(repository, "_layers"), found, repository)
        names = await self._files.folders(f"{manifests}/tags")
        for page in (names[at : at + _AT_ONCE] for at in range(0, len(names), _AT_ONCE)):
            read = [self._tag(repository, name, listed) for name in page]
            for name, answer in zip(page, await asyncio.gather(*read), strict=True):
                if isinstance(answer, Left):
                    found.left.append(answer)
                else:
                    found.tags[name] = answer
        return found

    async def manifest(self, repository: str, digest: Digest) -> ManifestBytes:
        await self._require_link(f"{self._place(repository, '_manifests')}/revisions", digest)
        raw = await self._files.read(self._data(digest), _MANIFEST_BYTES)
        return ManifestBytes(raw, _media_type(raw), digest)

    async def referrers(self, repository: str, digest: Digest) -> list[Digest]:  # noqa: ARG002
        return []  # they are among the revisions

    async def require_blob(self, repository: str, blob: Descriptor) -> None:
        await self._require_link(self._place(repository, "_layers"), blob.digest)
        if await self._files.size(self._data(blob.digest)) is None:
            raise AbsentAtOrigin(f"the bytes of {blob.digest} are not there")

    async def take(self, store: BlobStore, repository: str, blob: Descriptor) -> tuple[str, str]:
        path = self._files.path(self._data(blob.digest))
        if path is not None:
            taken = await store.take_file(path, blob.digest, blob.size, may_link=self._may_link)
            if taken is not None:
                return taken
        pieces = await self.read(repository, blob)
        return await store_verified(store, blob.digest, blob.size, pieces), "copied"

    async def read(self, repository: str, blob: Descriptor) -> AsyncGenerator[bytes, None]:  # noqa: ARG002
        return await self._files.stream(self._data(blob.digest))

    async def close(self) -> None:
        return None

    async def _tag(self, repository: str, name: str, listed: set[Digest]) -> Digest | Left:
        what = f"{repository}:{_shown(name)}"
        try:
            parse_tag(name)
            digest = await self._link(f"{self._place(repository, '_manifests')}/tags/{name}/current/link")
        except InvalidReference as error:
            return Left(what, f"its name can't be a tag here: {error.message}")
        except EntrepotError as error:
            return Left(what, f"what it points to can't be read: {error.message}")
        if digest not in listed:
            return Left(what, f"it points to {digest}, which the repository has deleted")
        return digest

    async def _links(self, folder: str, found: OriginContents, repository: str) -> set[Digest]:
        """Digests that have a link; of what was deleted the folder stays."""
        listed = set[Digest]()
        for algorithm in await self._files.folders(folder):
            names = await self._files.folders(f"{folder}/{algorithm}")
            for page in (names[at : at + _AT_ONCE] for at in range(0, len(names), _AT_ONCE)):
                sizes = await asyncio.gather(
                    *(self._files.size(f"{folder}/{algorithm}/{name}/link") for name in page)
                )
                for name in (name for name, size in zip(page, sizes, strict=True) if size is not None):
                    try:
                        listed.add(Digest.parse(f"{algorithm}:{name}"))
                    except InvalidDigest as error:
                        what = f"{repository}@{_shown(f'{algorithm}:{name}')}"
                        found.left.append(Left(what, error.message))
        return listed

    async def _require_link(self, folder: str, digest: Digest) -> None:
        if await self._files.size(f"{folder}/{digest.algorithm}/{digest.hex}/link") is None:
            raise AbsentAtOrigin(f"{digest} has been deleted there")

    async def _link(self, name: str) -> Digest:
        text = (await self._files.read(name, _LINK_BYTES)).decode("ascii", "replace").strip()
        return Digest.parse(text)

    def _place(self, repository: str, part: str) -> str:
        return f"{self._root}repositories/{repository}/{part}"

    def _data(self, digest: Digest) -> str:
        return f"{self._root}blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"


def _checked(name: str) -> str | Left:
    try:
        return parse_repository(name)
    except InvalidReference as error:
        return Left(_shown(name), f"its name can't be a repository here: {error.message}")


def _media_type(raw: bytes) -> str:
    """What the registry would serve it as: it keeps no type but what is written inside."""
    try:
        written = strictjson.loads_object(raw).get("mediaType")
    except strictjson.InvalidJson:
        return ""
    return written if isinstance(written, str) else ""


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode().encode("unicode_escape").decode()
