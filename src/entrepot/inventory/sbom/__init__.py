"""Bills of materials in the forms other programs read."""
