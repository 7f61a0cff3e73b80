"""`inspect` of an image: docker's document about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from entrepot.actions.places import the_store
from entrepot.actions.platforms import manifest_summaries
from entrepot.images.errors import PlatformMismatch
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.images.times import print_time
from entrepot.oci.imageconfig import ImageConfig
from entrepot.oci.manifest import ImageManifest, Index
from entrepot.oci.platform import Platform

CONFIG_DEFAULTS: dict[str, Any] = {
    "Cmd": None,
    "Entrypoint": None,
    "Env": None,
    "Labels": None,
    "OnBuild": None,
    "User": "",
    "Volumes": None,
    "WorkingDir": "",
}
"""Keys scripts may count on, as docker prints them when unset."""

LEGACY_CONFIG = frozenset(
    {
        "Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin",
        "StdinOnce", "Image", "MacAddress", "NetworkDisabled",
    }
)  # fmt: skip
"""What old engines wrote into images about the container they were built in."""


def inspect_image(
    name: str, *, platform: str | None = None, store: ImageStore | Path | str | None = None
) -> dict[str, Any]:
    """The document `docker image inspect` prints. Raises NoSuchImage, PlatformMismatch."""
    place = the_store(store)
    image = place.resolve(name)
    check_platform(image, name, platform)
    return describe(place, image)


def check_platform(image: Image, name: str, platform: str | None) -> None:
    """Raises PlatformMismatch when the image is for another platform."""
    if platform is None:
        return
    wanted = Platform.parse(platform).normalized()
    if image.platform is None or image.platform.normalized() != wanted:
        raise PlatformMismatch(name, str(image.platform), platform)


def describe(store: ImageStore, image: Image) -> dict[str, Any]:
    if not image.diff_ids and image.platform is None:
        return _describe_artifact(store, image)
    config = store.config(image)
    raw = config.document
    document: dict[str, Any] = {
        "Id": str(image.id),
        "RepoTags": [tag.familiar() for tag in image.tags],
        "RepoDigests": [digest.familiar() for digest in image.repo_digests],
        "Parent": str(image.parent) if image.parent else "",
        "Comment": _comment(config, raw),
        "Created": config.created or "",
        "DockerVersion": raw.get("docker_version") or "",
        "Author": config.author,
        "Architecture": raw.get("architecture") or "",
    }
    if raw.get("variant"):
        document["Variant"] = raw["variant"]
    document["Os"] = raw.get("os") or ""
    if raw.get("os.version"):
        document["OsVersion"] = raw["os.version"]
    return document | {
        "Size": image.size,
        "GraphDriver": {"Data": None, "Name": "oci-layout"},
        "RootFS": {"Type": "layers", "Layers": [str(diff_id) for diff_id in config.diff_ids]},
        "Metadata": {"LastTagTime": _tagged(image)},
        "Descriptor": _descriptor(image),
        **({"Manifests": manifests} if (manifests := manifest_summaries(store, image)) else {}),
        "Config": _config(raw.get("config") or {}),
    }


def _describe_artifact(store: ImageStore, image: Image) -> dict[str, Any]:
    manifest = store.get_manifest(image.manifest.digest).parse()
    return {
        "Id": str(image.id),
        "RepoTags": [tag.familiar() for tag in image.tags],
        "RepoDigests": [digest.familiar() for digest in image.repo_digests],
        "ArtifactType": manifest.effective_artifact_type,
        "Annotations": dict(manifest.annotations),
        "Size": image.size,
        "Descriptor": _descriptor(image),
        **_parts(manifest),
    }


def _parts(manifest: ImageManifest | Index) -> dict[str, Any]:
    if isinstance(manifest, Index):  # one without an image in it
        return {"Manifests": [child.to_json() for child in manifest.manifests]}
    return {"Layers": [layer.to_json() for layer in manifest.layers]}


def _descriptor(image: Image) -> dict[str, Any]:
    return {
        "mediaType": image.target.media_type,
        "digest": str(image.target.digest),
        "size": image.target.size,
    }


def _comment(config: ImageConfig, raw: dict[str, Any]) -> str:
    own = raw.get("comment")
    if isinstance(own, str) and own:
        return own
    return config.history[-1].comment if config.history else ""


def _tagged(image: Image) -> str:
    return print_time(image.tagged_at) if image.tagged_at else "0001-01-01T00:00:00Z"


def _config(raw: dict[str, Any]) -> dict[str, Any]:
    kept = {key: _sorted(value) for key, value in raw.items() if key not in LEGACY_CONFIG}
    return dict(sorted((CONFIG_DEFAULTS | kept).items()))


def _sorted(value: Any) -> Any:
    """docker prints maps (ports, volumes, labels) by key; Healthcheck is none, and has its own order."""
    return dict(sorted(value.items())) if isinstance(value, dict) and "Test" not in value else value
