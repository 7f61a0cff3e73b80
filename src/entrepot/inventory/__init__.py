"""What is in an image: files, packages, and what is known against them. Pure and for hostile input; shared by
the tool and the registry."""
