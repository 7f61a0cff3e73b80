"""Media types of image content (image-spec: OCI Image Media Types; docker's schema 2)."""

from __future__ import annotations

import re
from typing import Final

OCI_DESCRIPTOR: Final = "application/vnd.oci.descriptor.v1+json"
OCI_LAYOUT_HEADER: Final = "application/vnd.oci.layout.header.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_NONDISTRIBUTABLE_LAYER: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_NONDISTRIBUTABLE_LAYER_GZIP: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
OCI_NONDISTRIBUTABLE_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"

DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_PLUGIN_CONFIG: Final = "application/vnd.docker.plugin.v1+json"
# docker's plain "layer" of a registry is gzipped; the uncompressed one only appears in archives.
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_LAYER: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

OCTET_STREAM: Final = "application/octet-stream"

IMAGE_MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS: Final = IMAGE_MANIFESTS | INDEXES
SCHEMA1_MANIFESTS: Final = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
NONDISTRIBUTABLE_LAYERS: Final = frozenset(
    {
        OCI_NONDISTRIBUTABLE_LAYER,
        OCI_NONDISTRIBUTABLE_LAYER_GZIP,
        OCI_NONDISTRIBUTABLE_LAYER_ZSTD,
        DOCKER_FOREIGN_LAYER,
        DOCKER_FOREIGN_LAYER_GZIP,
    }
)
LAYERS: Final = (
    frozenset({OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER_ZSTD})
    | NONDISTRIBUTABLE_LAYERS
)

# What a client asks for, in the order it likes best.
ACCEPT_MANIFESTS: Final[tuple[str, ...]] = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)

MAX_LENGTH: Final = 255
"""Of a type and a subtype of 127 characters each (RFC 6838 4.2)."""
_MANIFEST_LIKE: Final = re.compile(r"application/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*\+json")
_PRINTABLE: Final = re.compile(r"[!-~][ -~]*")


def may_be_manifest(media_type: str) -> bool:
    """Whether a registry may keep a manifest of this type, and send it back as its Content-Type.

    JSON of an application, in the grammar of RFC 6838 and without parameters: no browser shows that as a
    page or runs it as a script, and no character of it ends a header. All that clients push is of this kind,
    future types too.
    """
    return len(media_type) <= MAX_LENGTH and _MANIFEST_LIKE.fullmatch(media_type) is not None


def is_writable(media_type: str) -> bool:
    """Whether a descriptor may say so: any text on one line of ASCII.

    image-spec asks for RFC 6838 here too, but people make up types of layers and artifacts (`oras push
    file:anything`), with parameters, spaces, or without a slash; these go nowhere but into JSON.
    """
    return len(media_type) <= MAX_LENGTH and _PRINTABLE.fullmatch(media_type) is not None


def is_index(media_type: str) -> bool:
    return media_type in INDEXES


def is_image_manifest(media_type: str) -> bool:
    return media_type in IMAGE_MANIFESTS


def is_manifest(media_type: str) -> bool:
    """Of an image or an index; schema 1 is not supported and is none."""
    return media_type in MANIFESTS


def is_config(media_type: str) -> bool:
    """Of a runnable image: its content is an image config."""
    return media_type in CONFIGS


def is_layer(media_type: str) -> bool:
    """A known kind of file-tree layer."""
    return media_type in LAYERS


def is_nondistributable(media_type: str) -> bool:
    """A layer that registries need not hold (foreign layers of Windows images)."""
    return media_type in NONDISTRIBUTABLE_LAYERS


def base_type(header: str) -> str:
    """A Content-Type without its parameters."""
    return header.partition(";")[0].strip()
