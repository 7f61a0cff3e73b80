"""Settings of the server: the documented model, and reading it from TOML, environment and flags."""

from entrepot.server.config.errors import ConfigInvalid
from entrepot.server.config.load import load
from entrepot.server.config.model import Bytes, Config, Seconds, Secret

__all__ = ["Bytes", "Config", "ConfigInvalid", "Seconds", "Secret", "load"]
