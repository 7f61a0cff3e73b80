"""Pages of the registry, for people."""
