"""Who is asking, and may they: identities, credentials, and the one decision.

`policy.authorize` decides, from facts, without I/O. Everything else here brings it facts
(`facts`), principals (`identities`, `tokens`, sign-in sources), or asks it for others (`control`).
"""
