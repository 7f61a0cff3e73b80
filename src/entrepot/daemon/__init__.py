"""A docker daemon, by the socket it listens on, as a place to copy from and to (Docker Engine API)."""
