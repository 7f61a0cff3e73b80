"""What every page is made with.

visit      one request: who asks, the form they sent, how a page is answered
guard      the policy of a route, and that a form came from our own page
forms      what was typed, and what is wrong with which field
words      sizes, times and digests as people read them
addresses  the paths of pages
"""
