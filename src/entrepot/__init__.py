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
    "copy": "entrepot.actions.copy",
    "delete": "entrepot.actions.listing",
    "history": "entrepot.actions.history",
    "import_": "entrepot.actions.import_",
    "inspect_image": "entrepot.actions.inspect",
    "list_images": "entrepot.actions.images",
    "list_repositories": "entrepot.actions.listing",
    "list_tags": "entrepot.actions.listing",
    "load": "entrepot.actions.load",
    "login": "entrepot.actions.login",
    "logout": "entrepot.actions.login",
    "prune_images": "entrepot.actions.rmi",
    "pull": "entrepot.actions.pull",
    "pull_all_tags": "entrepot.actions.pull",
    "push": "entrepot.actions.push",
    "remove_image": "entrepot.actions.rmi",
    "save": "entrepot.actions.save",
    "search": "entrepot.actions.search",
    "sync": "entrepot.actions.sync",
    "sync_list": "entrepot.actions.sync",
    "tag": "entrepot.actions.tag",
    # what they give and take
    "CancelToken": "entrepot.content.protocols",
    "ClientSettings": "entrepot.client.settings",
    "Copied": "entrepot.actions.copy",
    "Descriptor": "entrepot.oci.descriptor",
    "Digest": "entrepot.oci.digest",
    "EntrepotError": "entrepot.errors",
    "HistoryRow": "entrepot.actions.history",
    "Image": "entrepot.images.image",
    "ImageStore": "entrepot.images.store",
    "Loaded": "entrepot.actions.load",
    "LoggedIn": "entrepot.actions.login",
    "Platform": "entrepot.oci.platform",
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
    from entrepot.actions.copy import Copied, copy
    from entrepot.actions.history import HistoryRow, history
    from entrepot.actions.images import list_images
    from entrepot.actions.import_ import import_
    from entrepot.actions.inspect import inspect_image
    from entrepot.actions.listing import delete, list_repositories, list_tags
    from entrepot.actions.load import Loaded, load
    from entrepot.actions.login import LoggedIn, login, logout
    from entrepot.actions.pull import Pulled, pull, pull_all_tags
    from entrepot.actions.push import Pushed, push
    from entrepot.actions.rmi import Pruned, Removed, prune_images, remove_image
    from entrepot.actions.save import save
    from entrepot.actions.search import search
    from entrepot.actions.sync import Synced, sync, sync_list
    from entrepot.actions.tag import tag
    from entrepot.client.registry import SearchResult
    from entrepot.client.settings import ClientSettings
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
    "Copied",
    "Descriptor",
    "Digest",
    "EntrepotError",
    "HistoryRow",
    "Image",
    "ImageStore",
    "Loaded",
    "LoggedIn",
    "Platform",
    "Pruned",
    "Pulled",
    "Pushed",
    "Reference",
    "Removed",
    "SearchResult",
    "Synced",
    "__version__",
    "copy",
    "delete",
    "history",
    "import_",
    "inspect_image",
    "list_images",
    "list_repositories",
    "list_tags",
    "load",
    "login",
    "logout",
    "prune_images",
    "pull",
    "pull_all_tags",
    "push",
    "remove_image",
    "save",
    "search",
    "sync",
    "sync_list",
    "tag",
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
