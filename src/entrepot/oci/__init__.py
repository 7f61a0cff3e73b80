"""The pure model of container images and of the registry protocol: values and parsers, no I/O.

Client and server share it. Bytes are identity: parsed documents keep their raw bytes beside the
parsed view, and nothing here re-encodes what it read.
"""
