"""What a registry does, without HTTP: uploads, blobs, manifests, tags, referrers, repositories, history.

Each service is built on a catalog and a blob store. Their changes are one transaction each, in which leave
is asked (`permit`), the audit row and the event are written, and what it rests on is checked again.
"""
