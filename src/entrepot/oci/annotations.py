"""Annotation keys others agreed on (image-spec: Annotations; containerd; docker)."""

from __future__ import annotations

from typing import Final

CREATED: Final = "org.opencontainers.image.created"
AUTHORS: Final = "org.opencontainers.image.authors"
URL: Final = "org.opencontainers.image.url"
DOCUMENTATION: Final = "org.opencontainers.image.documentation"
SOURCE: Final = "org.opencontainers.image.source"
VERSION: Final = "org.opencontainers.image.version"
REVISION: Final = "org.opencontainers.image.revision"
VENDOR: Final = "org.opencontainers.image.vendor"
LICENSES: Final = "org.opencontainers.image.licenses"
TITLE: Final = "org.opencontainers.image.title"
DESCRIPTION: Final = "org.opencontainers.image.description"
BASE_DIGEST: Final = "org.opencontainers.image.base.digest"
BASE_NAME: Final = "org.opencontainers.image.base.name"

# In an image layout's index.json: the tag alone, by the specification.
REF_NAME: Final = "org.opencontainers.image.ref.name"
# The full name, as containerd, docker and buildkit write it beside the tag.
CONTAINERD_IMAGE_NAME: Final = "io.containerd.image.name"

# An attestation manifest of buildkit names the image it is about.
DOCKER_REFERENCE_TYPE: Final = "vnd.docker.reference.type"
DOCKER_REFERENCE_DIGEST: Final = "vnd.docker.reference.digest"
