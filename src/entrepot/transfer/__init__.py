"""Copying an image, or a whole graph of them, from any source to any sink.

`plan` decides (which platform, which manifests, which blobs) and does nothing; `copy` does it and decides
nothing. Neither knows what a registry, a store or an archive is.
"""
