"""Clients that write down what was acknowledged, and compare it with what the registry still has.

A tag that a push was about to move when the server died may point to the old or the new manifest, and to
nothing else; everything that was answered with 2xx must be there byte for byte.
"""

import hashlib
import http.client
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.wire import Answer, Wire

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

GONE = (OSError, http.client.HTTPException)
"""What a client sees when the server dies under it."""


class Unexpected(AssertionError):
    """The registry answered something that no fault explains."""


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Journal:
    """What was acknowledged. Safe to use from many threads."""

    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """(repository, digest) → bytes."""
    layers: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """(repository, digest) → bytes of blobs that an acknowledged manifest refers to."""
    tags: dict[tuple[str, str], set[str | None]] = field(default_factory=dict)
    """(repository, tag) → digests it may point to; None: it may be gone."""
    operations: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def about_to_tag(self, repository: str, tag: str, digest: str) -> None:
        with self._lock:
            self.tags.setdefault((repository, tag), {None}).add(digest)

    def tagged(self, repository: str, tag: str, manifest: bytes, blobs: list[bytes]) -> None:
        with self._lock:
            self.tags[repository, tag] = {digest_of(manifest)}
            self.manifests[repository, digest_of(manifest)] = manifest
            self.layers.update({(repository, digest_of(blob)): blob for blob in blobs})
            self.operations += 1

    def about_to_delete(self, repository: str, tag: str) -> None:
        with self._lock:
            self.tags.setdefault((repository, tag), {None}).add(None)

    def deleted(self, repository: str, tag: str) -> None:
        with self._lock:
            self.tags[repository, tag] = {None}
            self.operations += 1

    def lost(self, port: int, *, host: str = "127.0.0.1") -> list[str]:
        """What the registry on `port` does not have although it was acknowledged."""
        return list(self._lost(Wire(port, host=host)))

    def _lost(self, wire: Wire) -> Iterator[str]:
        for (repository, tag), allowed in sorted(self.tags.items()):
            answer = wire("GET", f"/v2/{repository}/manifests/{tag}", headers={"accept": OCI_MANIFEST})
            found = digest_of(answer.body) if answer.status == 200 else None
            if found not in allowed:
                yield f"{repository}:{tag} is {found or answer.status}, not {sorted(map(str, allowed))}"
        for (repository, digest), manifest in sorted(self.manifests.items()):
            answer = wire("GET", f"/v2/{repository}/manifests/{digest}", headers={"accept": OCI_MANIFEST})
            if answer.body != manifest:
                yield f"manifest {repository}@{digest}: {answer.status}"
        for (repository, digest), blob in sorted(self.layers.items()):
            answer = wire("GET", f"/v2/{repository}/blobs/{digest}")
            if answer.body != blob:
                yield f"blob {repository}@{digest}: {answer.status}, {len(answer.body)} bytes"


class Pusher:
    """One client: pushes images of random layers, moves and deletes tags, as long as the server lives."""

    def __init__(self, port: int, journal: Journal, seed: int, *, repository: str = "soak/app") -> None:
        self._port = port
        self._journal = journal
        self._random = random.Random(seed)
        self._tag = self._first_tag = f"t{seed}"
        self._left = 0
        self._repository = repository
        self.wire = Wire(port)

    def push_image(self, *, layers: int = 2, size: int = 3000) -> None:
        """Push one image and note it. Raises one of GONE, or Unexpected."""
        rng = self._random
        blobs = [rng.randbytes(rng.randint(1, size)) for _ in range(layers)] + [b"{}"]
        manifest = manifest_of(blobs)
        for _ in range(20):
            for blob in blobs:
                self.push_blob(blob)
            self._journal.about_to_tag(self._repository, self._tag, digest_of(manifest))
            answer = self.wire(
                "PUT",
                f"/v2/{self._repository}/manifests/{self._tag}",
                body=manifest,
                headers={"content-type": OCI_MANIFEST},
            )
            if answer.status == 201:
                self._journal.tagged(self._repository, self._tag, manifest, blobs)
                return
            if answer.status not in {400, 404} or answer.code != "MANIFEST_BLOB_UNKNOWN":
                raise Unexpected(f"PUT manifest: {answer}")
        raise Unexpected("blobs vanish before every manifest")

    def push_blob(self, blob: bytes) -> None:
        """Push a blob in one of the ways that clients do it."""
        repository, digest = self._repository, digest_of(blob)
        if self.wire("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200:
            return
        answer = self.wire("POST", f"/v2/{repository}/blobs/uploads/")
        location = expect(answer, 202).headers["location"]
        if self._random.random() < 0.5:
            expect(self.wire("PATCH", location, body=blob), 202)
            expect(self.wire("PUT", with_digest(location, digest)), 201)
        else:
            expect(self.wire("PUT", with_digest(location, digest), body=blob), 201)

    def leave_tag(self) -> None:
        """Go on with another tag: a request that was given up may still arrive, and move the old one."""
        self._left += 1
        self._tag = f"{self._first_tag}-{self._left}"

    def delete_tag(self) -> None:
        """Delete the tag that was pushed last."""
        self._journal.about_to_delete(self._repository, self._tag)
        answer = self.wire("DELETE", f"/v2/{self._repository}/manifests/{self._tag}")
        if answer.status not in {202, 404}:
            raise Unexpected(f"DELETE tag: {answer}")
        self._journal.deleted(self._repository, self._tag)

    def work(self) -> None:
        """One random piece of work."""
        if self._random.random() < 0.15:
            self.delete_tag()
        else:
            self.push_image()


class Crew:
    """Pushers in threads, until they are told to stop or the server is gone.

    `pause_s` between the operations of each: for tests about something that goes on beside pushes, in which
    what is pushed would have to be copied and read back again and again.
    """

    def __init__(self, port: int, journal: Journal, *, size: int, seed: int, pause_s: float = 0.0) -> None:
        self._pause_s = pause_s
        self.stop = threading.Event()
        self.faults: list[BaseException] = []
        """Answers that nothing explains."""
        self._pushers = [Pusher(port, journal, seed * 1000 + number) for number in range(size)]
        self._threads = [threading.Thread(target=self._run, args=(pusher,)) for pusher in self._pushers]

    def __enter__(self) -> "Crew":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    def _run(self, pusher: Pusher) -> None:
        while not self.stop.is_set():
            try:
                pusher.work()
                self.stop.wait(self._pause_s)
            except GONE:
                if self.stop.wait(0.02):
                    return
                pusher.wire.close()
            except BaseException as error:
                self.faults.append(error)
                return


def manifest_of(blobs: list[bytes]) -> bytes:
    """A manifest whose config is the last blob and whose layers are the others."""
    *layers, config = blobs
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [
            {"mediaType": OCI_LAYER, "digest": digest_of(layer), "size": len(layer)} for layer in layers
        ],
    }
    return json.dumps(document).encode()


def expect(answer: Answer, status: int) -> Answer:
    """`answer`, when it has this status. Raises Unexpected."""
    if answer.status != status:
        raise Unexpected(f"{status} expected, not {answer}")
    return answer


def with_digest(location: str, digest: str) -> str:
    """An upload's location with the digest that ends it."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"
