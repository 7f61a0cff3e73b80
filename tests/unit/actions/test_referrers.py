"""What belongs to an image goes along: signatures, and what has it as a subject."""

from entrepot.actions.referrers import copy_referrers
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.manifest import build_manifest
from entrepot.transfer.copy import carry_out
from entrepot.transfer.reading import read_plan


def put(store: MemoryStore, text: bytes, tag: str | None, subject: Descriptor | None = None) -> ManifestBytes:
    config = store.add_blob(b"{}", mediatype.OCI_CONFIG)
    layer = store.add_blob(text, mediatype.OCI_LAYER)
    manifest = ManifestBytes.from_manifest(build_manifest(config, [layer], subject=subject))
    store.put_manifest(manifest, tag)
    return manifest


def test_a_signature_of_a_signature_and_an_old_tag_go_along() -> None:
    source, target = MemoryStore(), MemoryStore()
    image = put(source, b"image", "1")
    signature = put(source, b"signature", None, image.descriptor())
    second = put(source, b"of the signature", None, signature.descriptor())
    put(source, b"old", f"sha256-{image.digest.hex}.sig")
    put(source, b"of another image", None, put(source, b"other", "2").descriptor())
    plan = read_plan(source, image)
    carry_out(plan, source, target, to="1")
    assert copy_referrers(source, source, target, plan, events=lambda _: None) == 3
    assert {image.digest, signature.digest, second.digest} < target.manifests.keys()
    assert len(target.manifests) == 4
