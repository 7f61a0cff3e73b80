"""entrepot: a container registry and a daemonless image tool.

The verbs of the command line are functions here, with the same names:

    import entrepot

    pulled = entrepot.pull("nginx:1.27")
    entrepot.tag("nginx:1.27", "localhost:5000/team/nginx:1.27")
    entrepot.push("localhost:5000/team/nginx:1.27")

Names are imported when they are first used, so `import entrepot` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS: dict[str, str] = {
    # verbs
    "annotate_manifest": "entrepot.actions.manifest_annotate",
    "append_layer": "entrepot.actions.append",
    "attach": "entrepot.actions.artifact",
    "attest": "entrepot.actions.sign",
    "commit_container": "entrepot.actions.commit",
    "container_changes": "entrepot.actions.diff",
    "container_logs": "entrepot.actions.logs",
    "copy": "entrepot.actions.copy",
    "copy_from_container": "entrepot.actions.cp",
    "copy_to_container": "entrepot.actions.cp",
    "create_and_push": "entrepot.actions.manifest_create",
    "create_container": "entrepot.actions.create",
    "create_manifest": "entrepot.actions.manifest_create",
    "delete": "entrepot.actions.listing",
    "diff_images": "entrepot.actions.image_diff",
    "exec_in_container": "entrepot.actions.exec",
    "export_container": "entrepot.actions.export",
    "flatten_image": "entrepot.actions.flatten",
    "history": "entrepot.actions.history",
    "import_": "entrepot.actions.import_",
    "inspect_container": "entrepot.actions.container_inspect",
    "inspect_image": "entrepot.actions.inspect",
    "inspect_manifest": "entrepot.actions.manifest_inspect",
    "kill_container": "entrepot.actions.kill",
    "list_artifacts": "entrepot.actions.artifact",
    "list_containers": "entrepot.actions.ps",
    "list_images": "entrepot.actions.images",
    "list_repositories": "entrepot.actions.listing",
    "list_tags": "entrepot.actions.listing",
    "load": "entrepot.actions.load",
    "login": "entrepot.actions.login",
    "logout": "entrepot.actions.login",
    "mutate_image": "entrepot.actions.mutate",
    "prune_images": "entrepot.actions.rmi",
    "pull": "entrepot.actions.pull",
    "pull_all_tags": "entrepot.actions.pull",
    "push": "entrepot.actions.push",
    "push_manifest": "entrepot.actions.manifest_push",
    "rebase_image": "entrepot.actions.rebase",
    "remove_container": "entrepot.actions.rm",
    "remove_image": "entrepot.actions.rmi",
    "remove_manifest": "entrepot.actions.manifest_rm",
    "rename_container": "entrepot.actions.rename",
    "run_container": "entrepot.actions.run",
    "save": "entrepot.actions.save",
    "search": "entrepot.actions.search",
    "sign": "entrepot.actions.sign",
    "start_container": "entrepot.actions.start",
    "stop_container": "entrepot.actions.stop",
    "sync": "entrepot.actions.sync",
    "sync_list": "entrepot.actions.sync",
    "tag": "entrepot.actions.tag",
    "tree": "entrepot.actions.tree",
    "verify": "entrepot.actions.verify",
    "verify_bundle": "entrepot.actions.verify_bundle",
    "wait_for_container": "entrepot.actions.wait",
    # what they give and take
    "CancelToken": "entrepot.content.protocols",
    "ClientSettings": "entrepot.client.settings",
    "Container": "entrepot.containers.records",
    "Copied": "entrepot.actions.copy",
    "CreateOptions": "entrepot.containers.options",
    "Descriptor": "entrepot.oci.descriptor",
    "Digest": "entrepot.oci.digest",
    "EntrepotError": "entrepot.errors",
    "ExecOptions": "entrepot.actions.exec",
    "Finished": "entrepot.actions.start",
    "HistoryRow": "entrepot.actions.history",
    "Image": "entrepot.images.image",
    "ImageDifference": "entrepot.actions.image_diff",
    "ImageStore": "entrepot.images.store",
    "Loaded": "entrepot.actions.load",
    "LoggedIn": "entrepot.actions.login",
    "Mutation": "entrepot.actions.mutate",
    "Platform": "entrepot.oci.platform",
    "PlatformChange": "entrepot.actions.manifest_annotate",
    "Pruned": "entrepot.actions.rmi",
    "Pulled": "entrepot.actions.pull",
    "Pushed": "entrepot.actions.push",
    "Reference": "entrepot.oci.reference",
    "Removed": "entrepot.actions.rmi",
    "SearchResult": "entrepot.client.registry",
    "Synced": "entrepot.actions.sync",
}
"""Public name → the module that has it."""

if TYPE_CHECKING:
    from entrepot.actions.append import append_layer
    from entrepot.actions.artifact import attach, list_artifacts
    from entrepot.actions.commit import commit_container
    from entrepot.actions.container_inspect import inspect_container
    from entrepot.actions.copy import Copied, copy
    from entrepot.actions.cp import copy_from_container, copy_to_container
    from entrepot.actions.create import create_container
    from entrepot.actions.diff import container_changes
    from entrepot.actions.exec import ExecOptions, exec_in_container
    from entrepot.actions.export import export_container
    from entrepot.actions.flatten import flatten_image
    from entrepot.actions.history import HistoryRow, history
    from entrepot.actions.image_diff import ImageDifference, diff_images
    from entrepot.actions.images import list_images
    from entrepot.actions.import_ import import_
    from entrepot.actions.inspect import inspect_image
    from entrepot.actions.kill import kill_container
    from entrepot.actions.listing import delete, list_repositories, list_tags
    from entrepot.actions.load import Loaded, load
    from entrepot.actions.login import LoggedIn, login, logout
    from entrepot.actions.logs import container_logs
    from entrepot.actions.manifest_annotate import PlatformChange, annotate_manifest
    from entrepot.actions.manifest_create import create_and_push, create_manifest
    from entrepot.actions.manifest_inspect import inspect_manifest
    from entrepot.actions.manifest_push import push_manifest
    from entrepot.actions.manifest_rm import remove_manifest
    from entrepot.actions.mutate import Mutation, mutate_image
    from entrepot.actions.ps import list_containers
    from entrepot.actions.pull import Pulled, pull, pull_all_tags
    from entrepot.actions.push import Pushed, push
    from entrepot.actions.rebase import rebase_image
    from entrepot.actions.rename import rename_container
    from entrepot.actions.rm import remove_container
    from entrepot.actions.rmi import Pruned, Removed, prune_images, remove_image
    from entrepot.actions.run import run_container
    from entrepot.actions.save import save
    from entrepot.actions.search import search
    from entrepot.actions.sign import attest, sign
    from entrepot.actions.start import Finished, start_container
    from entrepot.actions.stop import stop_container
    from entrepot.actions.sync import Synced, sync, sync_list
    from entrepot.actions.tag import tag
    from entrepot.actions.tree import tree
    from entrepot.actions.verify import verify
    from entrepot.actions.verify_bundle import verify_bundle
    from entrepot.actions.wait import wait_for_container
    from entrepot.client.registry import SearchResult
    from entrepot.client.settings import ClientSettings
    from entrepot.containers.options import CreateOptions
    from entrepot.containers.records import Container
    from entrepot.content.protocols import CancelToken
    from entrepot.errors import EntrepotError
    from entrepot.images.image import Image
    from entrepot.images.store import ImageStore
    from entrepot.oci.descriptor import Descriptor
    from entrepot.oci.digest import Digest
    from entrepot.oci.platform import Platform
    from entrepot.oci.reference import Reference

__all__ = [
    "CancelToken",
    "ClientSettings",
    "Container",
    "Copied",
    "CreateOptions",
    "Descriptor",
    "Digest",
    "EntrepotError",
    "ExecOptions",
    "Finished",
    "HistoryRow",
    "Image",
    "ImageDifference",
    "ImageStore",
    "Loaded",
    "LoggedIn",
    "Mutation",
    "Platform",
    "PlatformChange",
    "Pruned",
    "Pulled",
    "Pushed",
    "Reference",
    "Removed",
    "SearchResult",
    "Synced",
    "__version__",
    "annotate_manifest",
    "append_layer",
    "attach",
    "attest",
    "commit_container",
    "container_changes",
    "container_logs",
    "copy",
    "copy_from_container",
    "copy_to_container",
    "create_and_push",
    "create_container",
    "create_manifest",
    "delete",
    "diff_images",
    "exec_in_container",
    "export_container",
    "flatten_image",
    "history",
    "import_",
    "inspect_container",
    "inspect_image",
    "inspect_manifest",
    "kill_container",
    "list_artifacts",
    "list_containers",
    "list_images",
    "list_repositories",
    "list_tags",
    "load",
    "login",
    "logout",
    "mutate_image",
    "prune_images",
    "pull",
    "pull_all_tags",
    "push",
    "push_manifest",
    "rebase_image",
    "remove_container",
    "remove_image",
    "remove_manifest",
    "rename_container",
    "run_container",
    "save",
    "search",
    "sign",
    "start_container",
    "stop_container",
    "sync",
    "sync_list",
    "tag",
    "tree",
    "verify",
    "verify_bundle",
    "wait_for_container",
]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
