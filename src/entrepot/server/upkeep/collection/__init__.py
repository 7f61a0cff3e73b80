"""Garbage collection: finds what nothing refers to, puts its bytes into the trash, empties the trash."""
