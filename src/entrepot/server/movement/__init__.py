"""Content that moves between registries."""
