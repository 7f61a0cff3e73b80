"""Where a key to sign with comes from: a file, the environment, or what a command prints."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from entrepot.signing.errors import InvalidTrust
from entrepot.signing.private import is_encrypted, load_private_key

if TYPE_CHECKING:
    from entrepot.signing.private import PrivateKey

PASSWORDS = ("ENTREPOT_KEY_PASSWORD", "COSIGN_PASSWORD")
COMMAND_TIMEOUT_S = 120
MAX_KEY_BYTES = 1 << 20


def signing_key(key: str | None, command: str | None) -> PrivateKey:
    """`key` is a file or `env://NAME`; `command` prints the key. The password comes from the environment.

    Raises InvalidTrust, OSError. What the command prints is never shown.
    """
    if (key is None) == (command is None):
        raise InvalidTrust("no key to sign with, or two", hint="give either --key or --key-command")
    if command is not None:
        raw, where = _printed(command), "the key of --key-command"
    elif key is not None and key.startswith("env://"):
        name = key.removeprefix("env://")
        raw, where = os.environ.get(name, "").encode(), f"the variable {name}"
        if not raw:
            raise InvalidTrust(f"{where} is not set")
    else:
        path = Path(key or "")
        with path.open("rb") as file:
            raw, where = file.read(MAX_KEY_BYTES), str(path)
    password = next((os.environ[name] for name in PASSWORDS if name in os.environ), None)
    return load_private_key(
        raw, password.encode() if password is not None and is_encrypted(raw) else None, where
    )


def _printed(command: str) -> bytes:
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise InvalidTrust(f"--key-command cannot be read: {error}") from error
    if not argv:
        raise InvalidTrust("--key-command is empty")
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False, timeout=COMMAND_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidTrust(f"{argv[0]} printed no key within {COMMAND_TIMEOUT_S} seconds") from error
    if done.returncode != 0:
        raise InvalidTrust(f"{argv[0]} printed no key: it left with {done.returncode}")
    return done.stdout
