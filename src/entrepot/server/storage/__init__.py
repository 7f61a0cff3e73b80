"""Where the bytes of blobs are kept. Knows nothing of repositories, HTTP or the catalog."""
