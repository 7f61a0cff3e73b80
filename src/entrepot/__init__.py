"""entrepot: a container registry and a daemonless image tool."""

__version__ = "0.1.0"
