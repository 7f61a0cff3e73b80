"""What is in an image. Pure and for hostile input; shared by the tool and the registry."""
