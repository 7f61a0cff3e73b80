"""Names of containers: docker's grammar, and made-up ones for those nobody named."""

from __future__ import annotations

import os
import re

from entrepot.containers.errors import InvalidContainerName

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")

_QUALITIES = [
    "able",
    "airy",
    "amber",
    "brave",
    "brisk",
    "calm",
    "clear",
    "coastal",
    "deft",
    "eager",
    "early",
    "fair",
    "fleet",
    "fond",
    "gentle",
    "glad",
    "golden",
    "grand",
    "hardy",
    "honest",
    "jolly",
    "keen",
    "kind",
    "lively",
    "loyal",
    "lucid",
    "mellow",
    "merry",
    "mild",
    "misty",
    "noble",
    "patient",
    "placid",
    "polite",
    "proud",
    "quick",
    "quiet",
    "ready",
    "rosy",
    "salty",
    "serene",
    "sharp",
    "silent",
    "silver",
    "sleek",
    "snug",
    "sound",
    "steady",
    "sturdy",
    "sunny",
    "swift",
    "tidal",
    "trim",
    "true",
    "upbeat",
    "vivid",
    "warm",
    "wise",
    "witty",
]
_THINGS = [
    "anchor",
    "anvil",
    "atoll",
    "bark",
    "barge",
    "bay",
    "beacon",
    "bell",
    "berth",
    "boom",
    "bosun",
    "breeze",
    "buoy",
    "cable",
    "canal",
    "cape",
    "cargo",
    "cask",
    "clipper",
    "coast",
    "compass",
    "coral",
    "crane",
    "crate",
    "crew",
    "current",
    "cutter",
    "davit",
    "delta",
    "dhow",
    "dock",
    "ferry",
    "fjord",
    "fleet",
    "foghorn",
    "galley",
    "gangway",
    "gull",
    "harbor",
    "hatch",
    "haven",
    "hawser",
    "helm",
    "hull",
    "inlet",
    "jetty",
    "junk",
    "keel",
    "ketch",
    "lagoon",
    "lantern",
    "lighter",
    "locker",
    "marina",
    "mast",
    "mooring",
    "oar",
    "pier",
    "pilot",
    "port",
    "prow",
    "quay",
    "reef",
    "rigging",
    "rudder",
    "sail",
    "schooner",
    "sextant",
    "shoal",
    "sloop",
    "sounding",
    "spar",
    "squall",
    "strait",
    "tackle",
    "tide",
    "tiller",
    "tug",
    "voyage",
    "wharf",
    "windlass",
    "yawl",
]


def check_name(name: str) -> str:
    """The name without the leading `/` that docker's API has. Raises InvalidContainerName."""
    name = name.removeprefix("/")
    if not _NAME.match(name):
        raise InvalidContainerName(name)
    return name


def made_up_name() -> str:
    """A random `quality_thing`; the caller looks whether it is taken."""
    import secrets  # here, since `ps` reads names and makes none

    return f"{secrets.choice(_QUALITIES)}_{secrets.choice(_THINGS)}"


def new_id() -> str:
    """64 random hex digits. Never all digits in the first twelve: that would be a hostname of numbers
    only."""
    while (found := os.urandom(32).hex())[:12].isdigit():
        pass
    return found
