"""Read-only SQL behind the use cases: functions over a connection that return plain values."""
