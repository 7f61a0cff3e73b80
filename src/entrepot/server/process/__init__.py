"""The processes of `entrepot serve`: a supervisor, those that answer requests, and the one for jobs."""
