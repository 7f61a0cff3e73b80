"""File trees and tar streams: what an image layer is made of.

This package turns a layer's bytes into files and files into a layer's bytes, and knows no image, store
or registry. Every layer is hostile input: see `limits` for what is refused by size and `tar_reader` for
what is refused by shape; `apply` never lets the kernel follow a link out of the target directory.
image-spec: Image Layer Filesystem Changeset.
"""
