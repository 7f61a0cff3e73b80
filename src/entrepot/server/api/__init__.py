"""The management API under `/api/v1`: parse, call one use case of `control`, render its schemas."""
