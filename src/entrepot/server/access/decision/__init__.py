"""What is allowed, and why: values, patterns, and `policy.authorize`."""
