"""Background work: what removes, checks, mends and delivers while the registry serves.

runner/      the job table: rows with leases, so any process may run them and none runs twice at once
collection/  what nothing refers to any more, found and removed while pushes go on
integrity/   stored bytes and rows compared with what they should be, and mended
"""
