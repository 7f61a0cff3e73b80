"""A repository over the wire, in the words of the distribution specification; nothing is hidden."""

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.wire import Answer, Wire

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

NUMBERS = itertools.count()
"""For names that nobody else uses."""


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def document(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode()


@dataclass
class WireRepository:
    """A repository of a test's own, over one connection."""

    wire: Wire
    name: str

    def __call__(self, method: str, path: str, **more: Any) -> Answer:
        """A request below the repository: `blobs/…`, `manifests/…`, `tags/list`."""
        return self.wire(method, path if path.startswith("/") else f"/v2/{self.name}/{path}", **more)

    def begin(self, query: str = "") -> str:
        """Begin an upload; its location."""
        begun = self("POST", f"blobs/uploads/{query}")
        assert begun.status == 202, begun
        return begun.headers["location"]

    def push(self, data: bytes, algorithm: str = "sha256") -> str:
        """Push a blob; its digest."""
        wanted = digest(data, algorithm)
        done = self("POST", f"blobs/uploads/?digest={wanted}", body=data)
        assert done.status == 201, done
        return wanted

    def descriptor(
        self, content: bytes, media_type: str = OCI_LAYER, algorithm: str = "sha256", **more: Any
    ) -> dict[str, Any]:
        """Push a blob; a descriptor of it."""
        pushed = self.push(content, algorithm)
        return {"mediaType": media_type, "digest": pushed, "size": len(content), **more}

    def manifest(
        self, *layers: Mapping[str, Any], config: Mapping[str, Any] | None = None, **more: Any
    ) -> bytes:
        """A manifest over pushed layers; its config is pushed too when none is given."""
        chosen = config or self.descriptor(b'{"architecture":"amd64","os":"linux"}', OCI_CONFIG)
        return document(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": chosen,
                "layers": list(layers),
                **more,
            }
        )

    def put(self, raw: bytes, reference: str | None = None, *, media_type: str | None = None) -> Answer:
        """Put a manifest by tag or (None) by its sha256 digest."""
        sent = media_type or json.loads(raw).get("mediaType", OCI_MANIFEST)
        return self("PUT", f"manifests/{reference or digest(raw)}", body=raw, headers={"Content-Type": sent})

    def put_image(self, reference: str | None = None, **more: Any) -> bytes:
        """Put a small image; its manifest's bytes."""
        raw = self.manifest(self.descriptor(f"layer {next(NUMBERS)}".encode()), **more)
        done = self.put(raw, reference)
        assert done.status == 201, done
        return raw

    def describe(self, raw: bytes, algorithm: str = "sha256", **more: Any) -> dict[str, Any]:
        """A descriptor of a manifest."""
        kind = json.loads(raw)["mediaType"]
        return {"mediaType": kind, "digest": digest(raw, algorithm), "size": len(raw), **more}

    def index(self, manifests: Sequence[Mapping[str, Any]], **more: Any) -> bytes:
        return document({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests), **more})


NewRepository = Callable[[], WireRepository]
