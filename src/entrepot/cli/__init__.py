"""The command line: parses, calls one action, prints what docker prints."""
