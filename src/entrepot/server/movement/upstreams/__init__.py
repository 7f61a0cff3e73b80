"""Pull-through: a proxy project shows what another registry, its upstream, has.

model       what an upstream is, and how names here become names there (pure)
table       its row
directory   the rows as this process knows them, a moment old at most
remote      the questions to it, in threads
answers     what it said of its tags, and when
fetches     who fetches a blob just now: one of all processes and nodes
fill        one blob on its way here, read by clients while it grows
pull_through  what a pull is answered with
snippets    what to write into clients' settings (pure)
"""
