"""What an operator does with a whole registry: move it, back it up, bring it back, look after it.

Functions over catalogs and stores; no HTTP, no command line. Who calls them opens both.
"""
