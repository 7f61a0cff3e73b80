"""What is in an image: packages, and what is known against them. Pure readers, for tool and server."""
