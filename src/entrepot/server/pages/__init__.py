"""Pages: HTML from the server, with a little JavaScript that only makes them quicker to use.

One file a subject; `kit/` is what every page is made with; templates/ and static/ are what it looks like.
"""
