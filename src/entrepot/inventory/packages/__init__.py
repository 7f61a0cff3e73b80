"""The packages of an image: what package managers and build tools wrote down about what they put there."""
