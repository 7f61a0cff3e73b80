"""The files of an image: what each layer says (`entries`), the tree they make (`tree`), what of it is
wasted, large or changed."""
