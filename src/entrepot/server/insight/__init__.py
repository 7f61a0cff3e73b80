"""What is in the stored images: lists of files, made behind pushes and read by pages. The data plane imports
none of it."""
