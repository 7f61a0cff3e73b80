"""Moving in: what another registry holds comes here, from its storage or over its API.

An `origin` says what there is and hands out bytes; `carry` brings it here, and is the only one that writes;
`compare` looks at both sides afterwards. What is here already is not fetched again, so a run that was killed
is run again.
"""
