"""Who and what there is: accounts, teams, roles, projects, grants. Functions over a connection."""
