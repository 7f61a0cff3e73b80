"""What an operator does with a whole registry: copy it, move it, bring it back, take it out.

Functions over catalogs and stores; no HTTP, no command line. Who calls them opens both.
"""
