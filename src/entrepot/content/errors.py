"""What every place for content may answer."""

from __future__ import annotations

from entrepot.errors import Conflict, LimitExceeded, NotFound, Unavailable


class ManifestNotFound(NotFound):
    code = "manifest-not-found"


class BlobNotFound(NotFound):
    code = "blob-not-found"


class IncompleteGraph(Conflict):
    """A manifest was put before what it refers to."""

    code = "incomplete-graph"


class GraphTooDeep(LimitExceeded):
    """Indexes within indexes, beyond any use."""

    code = "graph-too-deep"


class GraphTooLarge(LimitExceeded):
    """An image has more manifests, by number or by bytes, than anything in use."""

    code = "graph-too-large"


class Interrupted(Unavailable):
    """A sink's connection broke in the middle of a blob; `blob_offset` tells where to go on."""

    code = "interrupted"
