"""The data plane: the OCI distribution API at `/v2/`, as plain ASGI behind one routing table.

`routes` says which method and path is which action and handler; `dispatch` walks a request through it;
one file per resource answers. Nothing here stores anything: that is what `server.repos` is for.
"""
