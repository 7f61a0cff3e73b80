"""The local store: an OCI image layout on disk, shared by any number of processes."""
