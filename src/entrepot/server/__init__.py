"""The registry server. Nothing here is imported by the image tool."""
