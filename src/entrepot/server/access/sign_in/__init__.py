"""Signing in: whom a name and password, a provider or a CI system stand for."""
