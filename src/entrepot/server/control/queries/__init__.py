"""SQL behind the use cases: functions over a connection, plain values in and out. For `control` alone."""
