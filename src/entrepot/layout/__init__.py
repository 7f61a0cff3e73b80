"""OCI image layouts: directories of blobs with an `index.json` (image-spec: Image Layout)."""
