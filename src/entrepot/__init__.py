"""entrepot: a container registry and a daemonless image tool."""
