"""An archive of images as a place to copy from, whatever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final, Literal, Self

from entrepot.archive.docker import DockerContent, read_config, read_items
from entrepot.archive.errors import InvalidArchive
from entrepot.archive.names import ArchivedImage, find_image
from entrepot.archive.oci import OciContent
from entrepot.archive.tarfile import TarArchive
from entrepot.content.protocols import BlobStream, ManifestBytes
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import Index

ArchiveFormat = Literal["docker", "oci"]

_HINT: Final = "docker save, podman save and skopeo copy write archives that can be read"


class Archive:
    """Source over an archive. Close it (`with`); streams end with it. Reading is thread safe."""

    def __init__(self, tar: TarArchive) -> None:
        """Takes over `tar`. Raises InvalidArchive."""
        self._tar = tar
        names = {"manifest.json", "index.json"} & set(_top_names(tar))
        self.format: ArchiveFormat
        """How its content was read: `oci` also for what docker writes since version 25."""
        self._content: OciContent | DockerContent
        if "index.json" in names:
            self.format, self._content = "oci", OciContent(tar)
        elif "manifest.json" in names:
            self.format, self._content = "docker", DockerContent(tar)
        else:
            raise InvalidArchive(
                f"{tar.label} is no archive of images: it has neither manifest.json nor index.json",
                hint=f"{_HINT}; a root file system is read by: entrepot import",
            )
        images = self._content.images()
        if len(names) == 2:
            images = self._with_docker_names(images)
        self.images: tuple[ArchivedImage, ...] = tuple(images)
        """In the order of the archive."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return self._tar.label

    def find(self, name: str) -> ArchivedImage:
        """See `find_image`. Raises NotInArchive, AmbiguousArchive."""
        return find_image(self.images, name, self.label)

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        """By digest, or by a name as `find` takes it."""
        digest = reference if isinstance(reference, Digest) else self.find(reference).target.digest
        return self._content.get_manifest(digest)

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        return self._content.open_blob(descriptor, offset)

    def close(self) -> None:
        self._tar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _with_docker_names(self, images: list[ArchivedImage]) -> list[ArchivedImage]:
        """Names only `manifest.json` has are added; an image only it has makes the archive two-faced."""
        configs = {config: at for at, image in enumerate(images) for config in self._configs(image)}
        for item in read_items(self._tar):
            config = read_config(self._tar, item).digest
            if config not in configs:
                raise InvalidArchive(
                    f"{self.label}: manifest.json has the image {config}, index.json has not; "
                    "programs would load different images from it"
                )
            at = configs[config]
            known = images[at].references
            if not known and item.references:
                image = images[at]
                images[at] = ArchivedImage(image.target, image.image_id, item.references, image.ref_names)
        return images

    def _configs(self, image: ArchivedImage) -> set[Digest]:
        waiting, found, seen = [image.target.digest], set(), set()
        while waiting:
            digest = waiting.pop()
            if digest in seen:
                continue
            seen.add(digest)
            parsed = self._content.get_manifest(digest).parse()
            if isinstance(parsed, Index):
                waiting.extend(child.digest for child in parsed.references()[1])
            else:
                found.add(parsed.config.digest)
        return found


def open_archive(source: Path | str | BinaryIO, *, tmp: Path | None = None) -> Archive:
    """Of a path, an open file or a pipe; plain or compressed with gzip, zstd, bzip2 or xz.

    A pipe or a compressed archive is copied to a nameless file in `tmp` (the system's, when None) first;
    memory use doesn't depend on its size. Raises InvalidArchive, ArchiveLimitExceeded, OSError.
    """
    tar = TarArchive.open(source, tmp=tmp)
    try:
        return Archive(tar)
    except BaseException:
        tar.close()
        raise


def _top_names(tar: TarArchive) -> list[str]:
    return [name for name in tar.names() if "/" not in name]
