"""Which of two versions is older, and whether a range holds one: as each ecosystem's programs see it."""
