"""What a running program tells: structured logs, without secrets in them."""
