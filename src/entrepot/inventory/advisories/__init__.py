"""What is known against packages: advisories in several forms, one database, and the look-up in it."""
