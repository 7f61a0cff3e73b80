"""The management API under `/api/v1`, and what it shares with the pages and `entrepot admin`."""
