"""What the registry tells about itself: metrics, the access log, traces."""
