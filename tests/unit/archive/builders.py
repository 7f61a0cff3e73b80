"""Archives for tests, right ones and wrong ones."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

from entrepot.archive.writing import SavedImage
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference
from tests.support import images

Content = bytes | tuple[bytes, str]  # data, or a tar type and where the link leads


def tar(members: Iterable[tuple[str, Content]] | Mapping[str, Content]) -> bytes:
    """An archive with these members, in order; a name ending in / is a directory."""
    items = members.items() if isinstance(members, Mapping) else members
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in items:
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                archive.addfile(info)
            elif name.endswith("/"):
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def config_of(*layers: bytes, **fields: Any) -> bytes:
    """A config whose diff IDs are those of `layers`, plain tars."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]},
    }
    return json.dumps(document | fields).encode()


BASE = images.layer_tar({"base.txt": b"base " * 5000})
TOP = images.layer_tar({"top.txt": b"top"})
CONFIG = config_of(BASE, TOP)


def table(config: str, layers: list[str], tags: list[str] | None) -> bytes:
    return json.dumps([{"Config": config, "RepoTags": tags, "Layers": layers}]).encode()


def legacy_members() -> dict[str, Content]:
    """As engines before 25 save: one folder a layer, a link where a layer repeats."""
    return {
        f"{sha256(CONFIG)}.json": CONFIG,
        "aaaa/": b"",
        "aaaa/VERSION": b"1.0",
        "aaaa/json": b"{}",
        "aaaa/layer.tar": BASE,
        "bbbb/": b"",
        "bbbb/layer.tar": (tarfile.SYMTYPE, "../cccc/layer.tar"),
        "cccc/layer.tar": TOP,
        "manifest.json": table(
            f"{sha256(CONFIG)}.json", ["aaaa/layer.tar", "bbbb/layer.tar"], ["bb:1", "bb:one"]
        ),
        "repositories": b'{"bb":{"1":"bbbb"}}',
    }


def skopeo_members() -> dict[str, Content]:
    """As skopeo, podman and buildah write: layers by diff ID, named in full."""
    return {
        f"{sha256(BASE)}.tar": BASE,
        f"{sha256(TOP)}.tar": TOP,
        f"{sha256(CONFIG)}.json": CONFIG,
        "aaaa/layer.tar": (tarfile.SYMTYPE, f"../{sha256(BASE)}.tar"),
        "manifest.json": table(
            f"{sha256(CONFIG)}.json", [f"{sha256(BASE)}.tar", f"{sha256(TOP)}.tar"], ["docker.io/team/app:1"]
        ),
    }


def crane_members() -> dict[str, Content]:
    """As crane and bazel write: gzipped layers, the config under its digest."""
    packed = [images.gzipped(BASE), images.gzipped(TOP)]
    names = [f"{sha256(layer)}.tar.gz" for layer in packed]
    return {
        f"sha256:{sha256(CONFIG)}": CONFIG,
        **dict(zip(names, packed, strict=True)),
        "manifest.json": table(f"sha256:{sha256(CONFIG)}", names, ["bazel/app:latest"]),
    }


def bazel_members() -> dict[str, Content]:
    """As bazel's newer rules write: blobs as in a layout, but no index.json."""
    packed = images.gzipped(TOP)
    layers = {f"blobs/sha256/{sha256(data)}": data for data in (BASE, packed)}
    config = f"blobs/sha256/{sha256(CONFIG)}"
    return {"manifest.json": table(config, list(layers), ["app:latest"]), **layers, config: CONFIG}


def gzip_at(level: int, data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=level, mtime=0)


def stored_image(store: MemoryStore, *layers: Mapping[str, bytes], **options: Any) -> ManifestBytes:
    """An image in a store, without a name."""
    made = images.image(list(layers) or [{"a": b"a" * 10_000}, {"b": b"b"}], **options)
    store.blobs.update({Digest.parse(digest): data for digest, data in made.blobs.items()})
    manifest = ManifestBytes.of(made.manifest, made.media_type)
    store.put_manifest(manifest, None)
    return manifest


def stored_index(store: MemoryStore, *platforms: str) -> ManifestBytes:
    entries = []
    for text in platforms:
        platform = Platform.parse(text)
        manifest = stored_image(store, {"arch": text.encode()}, architecture=platform.architecture)
        entries.append(Descriptor(manifest.media_type, manifest.digest, len(manifest.raw), platform=platform))
    index = ManifestBytes.from_manifest(build_index(entries))
    store.put_manifest(index, None)
    return index


def saved(store: MemoryStore, manifest: ManifestBytes, *names: str) -> SavedImage:
    references = tuple(Reference.parse(name) for name in names)
    return SavedImage(store, manifest.descriptor(), references)
