"""Exit codes, the ones docker's command line uses."""

OK = 0
FAILED = 1
"""The command was understood and did not succeed."""
BAD_TEMPLATE = 64
"""`--format` of an inspect command could not be parsed."""
BAD_USAGE = 125
"""An unknown flag or a flag's value that cannot be read; `run`: the container was never started."""
NOT_EXECUTABLE = 126
NOT_FOUND = 127
INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT."""
TERMINATED = 143
"""Told to end: 128 + SIGTERM."""
