"""Signatures and attestations: read, verified and made, without any network.

Every proof (keys, trust roots, log entries, timestamps) comes in as bytes. What needs `cryptography` imports
it at its top, so nobody imports this package before there is something to verify or sign.
"""
