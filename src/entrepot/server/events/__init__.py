"""The feed of events: numbers given after the commit, and reading it."""
