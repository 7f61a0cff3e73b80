"""Jobs: rows with leases, and who takes and runs them."""
