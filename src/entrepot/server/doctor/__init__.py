"""Checks of an installation, from the inside and from where its clients stand, with what to do about each."""
