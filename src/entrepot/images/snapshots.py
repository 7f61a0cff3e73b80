"""Unpacked layers: each once, shared by every image and container that has the same layers below.

<store>/entrepot/snapshots/<mode>/
  lock                  shared while snapshots are looked up and not yet named by a container's record
  <name>/               one layer in the OVERLAY form of `layers.apply`, complete and verified
  <name>.json           what it is; written first, so a directory always has one
  .new-<name>/          being unpacked, flocked by the process at work; taken over when that is gone
  .old-<random>/        being removed

A snapshot belongs to a chain ID (image-spec: Layer ChainID), since a layer may name directories and link to
files of
the layers below. `<name>` is a shortened chain ID: mount options of many layers have to fit in one page of
memory.
`<mode>` tells who unpacked, root, a user namespace or a plain user: owners and whiteouts look different for
each.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from entrepot.errors import InvalidInput
from entrepot.files import is_same_file, locked, make_private, new_name, replace_file, try_lock
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.layers.directory import remove_tree
from entrepot.layers.limits import DEFAULT_LIMITS, UnpackLimits
from entrepot.layers.ownership import NAMESPACE, ROOT, Privileges, current_privileges
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import chain_ids

# What unpacking needs is imported when something has to be unpacked, which it mostly has not.
if TYPE_CHECKING:
    from concurrent.futures import Future

    from entrepot.layers.apply import Applied
    from entrepot.layers.union import Union

MAX_LAYERS = 500
"""What the kernel stacks in one overlay mount."""


class TooManyLayers(InvalidInput):
    """An image that no overlay mount can hold."""

    code = "too-many-layers"


class Snapshot(msgspec.Struct, frozen=True):
    """What `<name>.json` holds."""

    chain_id: str
    diff_id: str
    entries: int = 0
    bytes: int = 0


class Layer(Struct, frozen=True):
    """One layer to be unpacked."""

    chain_id: Digest
    diff_id: Digest
    descriptor: Descriptor


Progress = Callable[[Digest, str], None]
"""Told a layer's diff ID and `unpacking` or `unpacked`."""


def snapshot_name(chain_id: Digest) -> str:
    """26 characters of the chain ID's own randomness."""
    return base64.b32encode(bytes.fromhex(chain_id.hex)[:16]).decode().rstrip("=").lower()


class Snapshots:
    """The unpacked layers of a store, as this process's user sees them. Safe with many processes at once."""

    def __init__(
        self,
        store: ImageStore,
        *,
        privileges: Privileges | None = None,
        limits: UnpackLimits = DEFAULT_LIMITS,
    ) -> None:
        self._store = store
        self._limits = limits
        self.privileges = privileges or current_privileges()
        self.root = store.paths.own / "snapshots" / _mode(self.privileges)

    def path(self, chain_id: Digest) -> Path:
        """Where the layer of a chain ID is, or would be."""
        return self.root / snapshot_name(chain_id)

    def paths(self, diff_ids: Sequence[Digest]) -> list[Path]:
        """The layers' directories, topmost first, whether they are there or not."""
        return [self.path(chain_id) for chain_id in reversed(chain_ids(diff_ids))]

    def size(self, diff_ids: Sequence[Digest]) -> int:
        """Bytes of all files of unpacked layers, added up as docker does: one that a later layer replaces
        counts, too."""
        total = 0
        for path in self.paths(diff_ids):
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                total += msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Snapshot).bytes
        return total

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Nothing is collected until the block ends; by then a record has to name what is used."""
        self._prepare()
        with locked(self.root / "lock", exclusive=False):
            yield

    @contextlib.contextmanager
    def not_in_use(self) -> Iterator[None]:
        """Waits until nobody is `in_use`, and keeps others from it: every record names what it uses then."""
        self._prepare()
        with locked(self.root / "lock", exclusive=True):
            yield

    def ensure(self, image: Image, *, progress: Progress | None = None) -> list[Path]:
        """The unpacked layers of an image, topmost first; those that are missing are unpacked, several at a
        time.

        Each is read once: inflated, compared with its diff ID and written as it streams. Raises InvalidLayer
        and its
        relatives, DiffIdMismatch, LayerLimitExceeded, DiskFull, BlobNotFound; nothing half-done is left or
        used.
        Call it within `in_use`.
        """
        self._prepare()
        layers = self._layers(image)
        if all(self.path(layer.chain_id).is_dir() for layer in layers):
            return self.paths(image.diff_ids)
        from concurrent.futures import ThreadPoolExecutor

        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(max_workers=min(len(layers), os.cpu_count() or 1)))
            jobs = [(layer, pool.submit(self._unpack, layer, progress)) for layer in layers]
            below: list[Path] = []
            try:
                for layer, job in jobs:
                    self._finish(layer, job, below, progress)
                    below.insert(0, self.path(layer.chain_id))
            except BaseException:
                for _, job in jobs:
                    job.cancel()
                self._abandon(jobs)
                raise
        return below

    def collect(self, needed: Callable[[], set[Digest]]) -> int:
        """Remove snapshots of other chain IDs than those `needed` tells; how many went.

        Does nothing while somebody is in `in_use`: the next collection will.
        """
        if not self.root.is_dir():
            return 0
        removed: list[Path] = []
        fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            keep = {snapshot_name(chain_id) for chain_id in needed()}
            for path in list(self.root.iterdir()):
                if path.suffix != ".json" or path.stem in keep:
                    continue
                old = self.root / f".old-{new_name()}"
                with contextlib.suppress(FileNotFoundError):
                    (self.root / path.stem).rename(old)
                    removed.append(old)
                path.unlink(missing_ok=True)
            self._take_leftovers()
        finally:
            os.close(fd)
        for old in self.root.glob(".old-*"):
            remove_path(old)
        return len(removed)

    # Within.

    def _prepare(self) -> None:
        self._store.prepare()
        make_private(self.root.parent)
        make_private(self.root)

    def _layers(self, image: Image) -> list[Layer]:
        manifest = self._store.manifest(image)
        diff_ids = self._store.config(image).diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidInput(
                f"image {image} has {len(manifest.layers)} layers but its config names {len(diff_ids)}",
                hint="the image was made wrongly; it can be neither unpacked nor run",
            )
        if len(diff_ids) > MAX_LAYERS:
            raise TooManyLayers(
                f"image {image} has {len(diff_ids)} layers; at most {MAX_LAYERS} can be stacked",
                hint="entrepot flatten makes one layer of them",
            )
        return [Layer(*each) for each in zip(chain_ids(diff_ids), diff_ids, manifest.layers, strict=True)]

    def _unpack(self, layer: Layer, progress: Progress | None) -> tuple[int, Applied] | None:
        """Unpack one layer by itself; the lock on its directory and what came of it, or None when it is
        there."""
        fd = self._claim(layer)
        if fd is None:
            return None
        try:
            if progress:
                progress(layer.diff_id, "unpacking")
            return fd, self._apply(layer, None)
        except BaseException:
            self._give_up(layer, fd)
            raise

    def _claim(self, layer: Layer) -> int | None:
        """The locked, empty directory to unpack into, or None when somebody has just finished."""
        final, new = self.path(layer.chain_id), self._new_path(layer)
        while not final.is_dir():
            new.mkdir(mode=0o755, exist_ok=True)
            try:
                fd = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not final.is_dir() and is_same_file(fd, new):
                for name in os.listdir(fd):  # noqa: PTH208 - of a descriptor
                    remove_tree(fd, os.fsencode(name))
                os.fchmod(fd, 0o755)
                return fd
            os.close(fd)
        return None

    def _new_path(self, layer: Layer) -> Path:
        return self.root / f".new-{snapshot_name(layer.chain_id)}"

    def _apply(self, layer: Layer, lower: Union | None) -> Applied:
        from entrepot.layers.apply import Form, LayerApplier
        from entrepot.layers.compression import plain_chunks, prefetched, verified_diff
        from entrepot.layers.errors import DiffIdMismatch, InvalidLayer, LayerLimitExceeded
        from entrepot.layers.tar_reader import TarReader

        with self._store.open_layer(layer.descriptor) as blob:
            chunks = prefetched(verified_diff(plain_chunks(blob, self._limits), layer.diff_id))
            try:
                applier = LayerApplier(
                    self._new_path(layer),
                    form=Form.OVERLAY,
                    privileges=self.privileges,
                    lower=lower,
                    limits=self._limits,
                )
                return applier.apply(TarReader(chunks, self._limits))
            except (InvalidLayer, LayerLimitExceeded, DiffIdMismatch) as error:
                # Blobs are not synced as they come: a power cut may have left others' bytes under the name.
                if self._store.blobs.remove_if_damaged(layer.descriptor.digest):
                    raise DiffIdMismatch(
                        f"layer {layer.descriptor.digest} was damaged on this disk and has been removed",
                        hint="pull or load the image again; what is whole of it is kept",
                    ) from error
                raise
            finally:
                chunks.close()  # type: ignore[attr-defined]  # a generator: ends its thread

    def _finish(
        self,
        layer: Layer,
        job: Future[tuple[int, Applied] | None],
        below: Sequence[Path],
        progress: Progress | None,
    ) -> None:
        """Make a layer fit on those below and give it its name."""
        from entrepot.layers.settle import NeedsLowerLayers, settle
        from entrepot.layers.union import Union

        outcome = job.result()
        if outcome is None:
            return
        fd, applied = outcome
        new, final = self._new_path(layer), self.path(layer.chain_id)
        try:
            with Union(below) as lower:
                try:
                    settle(new, applied, lower)
                except NeedsLowerLayers:
                    for name in os.listdir(fd):  # noqa: PTH208 - of a descriptor
                        remove_tree(fd, os.fsencode(name))
                    applied = self._apply(layer, lower)
                    settle(new, applied, lower)
            document = Snapshot(str(layer.chain_id), str(layer.diff_id), applied.entries, applied.data_bytes)
            replace_file(
                final.with_suffix(".json"),
                msgspec.json.encode(document),
                tmp=self._store.paths.tmp,
                durable=False,
            )
            new.rename(final)
            os.close(fd)
        except BaseException:
            self._give_up(layer, fd)
            raise
        if progress:
            progress(layer.diff_id, "unpacked")

    def _give_up(self, layer: Layer, fd: int) -> None:
        with contextlib.suppress(OSError):
            remove_path(self._new_path(layer))
        with contextlib.suppress(OSError):
            os.close(fd)

    def _abandon(self, jobs: Sequence[tuple[Layer, Future[tuple[int, Applied] | None]]]) -> None:
        """Remove what layers above a broken one have unpacked."""
        for layer, job in jobs:
            with contextlib.suppress(BaseException):
                outcome = job.result()
                if outcome is not None and _is_open_on(outcome[0], self._new_path(layer)):
                    self._give_up(layer, outcome[0])

    def _take_leftovers(self) -> None:
        """Unpacking that a killed process left: whoever has the lock on it is still at work."""
        for path in self.root.glob(".new-*"):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                if try_lock(fd) and is_same_file(fd, path):
                    path.rename(self.root / f".old-{new_name()}")
            finally:
                os.close(fd)


def _mode(privileges: Privileges) -> str:
    if privileges == ROOT:
        return "root"
    return "namespace" if privileges == NAMESPACE else "user"


def _is_open_on(fd: int, path: Path) -> bool:
    try:
        return is_same_file(fd, path)
    except OSError:
        return False


def remove_path(path: Path) -> None:
    """Remove a tree of ours that hostile files lie in. Missing is fine."""
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_tree(parent, os.fsencode(path.name))
    finally:
        os.close(parent)
