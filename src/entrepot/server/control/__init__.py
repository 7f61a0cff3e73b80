"""What people and scripts do to a registry: each use case once, for pages, API and `entrepot admin`."""
