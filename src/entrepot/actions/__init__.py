"""What the verbs do, one file each: they pick the ends, call one room below, and return values.

Nothing here prints or reads the command line; the same functions are the Python library.
"""
