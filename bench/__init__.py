"""Figures: entrepot and a peer measured side by side in one run."""
