"""The tables of the catalog, as SQLAlchemy Core describes them. Migrations bring a database to this.

::

    project ─< repo ─< repo_blob >─ blob             trash   (physical names to unlink)
                 │        ▲ RESTRICT                 upload, upload_begun (on its way to become a blob)
                 ├─< manifest ─< manifest_blob
                 │      ▲  ▲───< manifest_child      manifest_missing (sparse: not here yet)
                 ├─< tag┘                            tag_event, tag_pull, tag_pull_day
    audit  event  event_head  job  lease  node  setting
    project ─ upstream, upstream_answer, upstream_fetch
    derived (made of content, and again)
    policy  policy_version  policy_preview  retention_run

`deleted_at` is a tombstone: reads leave such rows out, collection treats them as roots until the undo window
ends, and a push of the same thing clears it.
"""

from entrepot.server.db.tables import access  # its own names are imported from there
from entrepot.server.db.tables.base import metadata
from entrepot.server.db.tables.blobs import blob, repo_blob, trash, upload, upload_begun
from entrepot.server.db.tables.insight import derived
from entrepot.server.db.tables.journal import audit, event, event_head
from entrepot.server.db.tables.manifests import manifest, manifest_blob, manifest_child, manifest_missing
from entrepot.server.db.tables.policies import policy, policy_preview, policy_version, retention_run
from entrepot.server.db.tables.projects import project, repo
from entrepot.server.db.tables.setting import setting
from entrepot.server.db.tables.tags import pull_look, tag, tag_event, tag_pull, tag_pull_day
from entrepot.server.db.tables.upstreams import upstream, upstream_answer, upstream_fetch
from entrepot.server.db.tables.work import job, lease, node

__all__ = [
    "access",
    "audit",
    "blob",
    "derived",
    "event",
    "event_head",
    "job",
    "lease",
    "manifest",
    "manifest_blob",
    "manifest_child",
    "manifest_missing",
    "metadata",
    "node",
    "policy",
    "policy_preview",
    "policy_version",
    "project",
    "pull_look",
    "repo",
    "repo_blob",
    "retention_run",
    "setting",
    "tag",
    "tag_event",
    "tag_pull",
    "tag_pull_day",
    "trash",
    "upload",
    "upload_begun",
    "upstream",
    "upstream_answer",
    "upstream_fetch",
]
