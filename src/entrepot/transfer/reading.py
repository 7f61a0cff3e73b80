"""Reading the manifests a plan is made from: of an index, those of the platforms wanted and no other."""

from __future__ import annotations

from entrepot.content.errors import GraphTooDeep
from entrepot.content.graph import MAX_DEPTH, load_node, walk
from entrepot.content.protocols import ManifestBytes, Source
from entrepot.content.verify import SizeMismatch
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.manifest import Index
from entrepot.transfer.limits import DEFAULT, TransferLimits
from entrepot.transfer.plan import Plan, PlatformChoice, make_plan, narrowed_index, select_children


def read_plan(
    source: Source,
    root: ManifestBytes,
    *,
    platforms: PlatformChoice | None = None,
    limits: TransferLimits = DEFAULT,
) -> Plan:
    """The plan for what `root`, a manifest of `source`, leads to; each manifest is asked for once.

    `platforms` (default: all) narrows an index.
    Raises NoMatchingPlatform, GraphTooDeep, GraphTooLarge, CopyTooLarge, VerificationFailed, NotFound.
    """
    top = _read_top(source, root, platforms or PlatformChoice.all(), limits)
    nodes = walk(source, top, limits=limits.manifest, max_manifests=limits.max_manifests)
    return make_plan(root, top, nodes, limits)


def _read_top(
    source: Source, root: ManifestBytes, choice: PlatformChoice, limits: TransferLimits
) -> ManifestBytes:
    found, depth = root, 0
    while True:
        parsed = load_node(found, limits=limits.manifest).parsed
        if choice.is_all or not isinstance(parsed, Index):
            return found
        chosen = select_children(parsed, choice)
        if len(choice.wanted) > 1 and len(chosen) > 1:
            return ManifestBytes.from_manifest(narrowed_index(parsed, chosen))
        depth += 1
        if depth > MAX_DEPTH:
            raise GraphTooDeep(f"{chosen[0].digest} is nested deeper than {MAX_DEPTH} indexes")
        found = _read_child(source, chosen[0])


def _read_child(source: Source, descriptor: Descriptor) -> ManifestBytes:
    found = source.get_manifest(descriptor.digest)
    if len(found.raw) != descriptor.size:
        raise SizeMismatch(descriptor.digest, descriptor.size, len(found.raw))
    return found
