"""Who is asking, and may they: identities, credentials, and the one decision.

decision/   what is allowed: `policy.authorize` decides from facts, without I/O
secrets/    tokens, sessions, passwords, keys
directory/  users, robots, teams, roles, projects and their grants, as rows
sign_in/    from a name and a password, or a provider's word, to a principal

`open_mode` and `accounts_mode` put them together, behind the one Protocol `decision.protocol.AccessControl`.
"""
