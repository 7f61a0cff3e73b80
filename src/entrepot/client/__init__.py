"""Registries over HTTP: where they are, how they are trusted, who we are to them, and what they hold.

Everything is synchronous and safe to share between threads. Nothing here knows the server, a store
on disk or the command line.
"""
