"""Uploads: bytes on their way to become blobs.

What one request does, from top to bottom; `service` is what calls the rest::

    a name           ids      made without a row: it says itself what a row would; `rows` note who began it
      │
    a claim          claims   one request at a time owns an upload, and only then believes the row's offset;
      │                       `holder` tells whether who had it before still lives
    the body         intake   `feed` (counted, limited, ended without harm) into the store
      │              hashes   the digest so far, so that the last request need not read everything again
    the claim back   claims   how far the bytes go, in the same statement
      │
    a blob           commits  bytes durable in the store, then one transaction: blob, link, lease; no row more

An upload that is one small request takes a way around: nothing is claimed, and `commits` puts the bytes at
once. `arrivals` shows others how far all of it has come; nothing is decided by that.
"""

from entrepot.server.repos.uploads.service import RepositoryUploads, Upload

__all__ = ["RepositoryUploads", "Upload"]
