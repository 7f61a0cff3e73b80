"""Background work: what removes, checks, mends and delivers while the registry serves.

Jobs are rows with leases, so any process may run them and none runs twice at once; see `worker`. What a job
does is a module of its own: `gc`, `sweep`, `reconcile`, `fsck`, `scrub`, `integrity`, `outbox`.
"""
