"""Credential helpers: `docker-credential-NAME` programs (docker-credential-helpers' protocol).

`get` reads the server on stdin and prints JSON with ServerURL, Username and Secret; `store` reads that JSON;
`erase` reads the server. "Not found" is exit code 1 with a fixed sentence on stdout.
"""

from __future__ import annotations

import json
import re

from entrepot.client.errors import CredentialHelperFailed

IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - the protocol's marker, not a secret
_NOT_FOUND = "credentials not found in native keychain"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TIMEOUT_S = 60.0


class CredentialHelper:
    """One helper program. Secrets travel over its standard input and output only."""

    def __init__(self, name: str, *, path: str | None = None) -> None:
        """`path` is the PATH to look the program up in."""
        if not _NAME.fullmatch(name):
            raise CredentialHelperFailed(f"{name!r} is not a name of a credential helper")
        self.name = name
        self.program = f"docker-credential-{name}"
        self._path = path

    def get(self, server: str) -> tuple[str, str] | None:
        """(user name, secret) the helper holds for `server`; None when it holds nothing.

        Raises CredentialHelperFailed.
        """
        answer = self._run("get", server)
        if answer is None:
            return None
        try:
            fields = json.loads(answer)
            return str(fields.get("Username") or ""), str(fields.get("Secret") or "")
        except (ValueError, AttributeError) as error:
            raise CredentialHelperFailed(f"{self.program} get: the answer is not a JSON object") from error

    def store(self, server: str, username: str, secret: str) -> None:
        self._run("store", json.dumps({"ServerURL": server, "Username": username, "Secret": secret}))

    def erase(self, server: str) -> None:
        """Forget `server`; no error when it was not known."""
        self._run("erase", server)

    def _run(self, action: str, stdin: str) -> str | None:
        # Few users have a helper; the others need not wait for these imports.
        import shutil
        import subprocess

        program = shutil.which(self.program, path=self._path)
        if program is None:
            raise CredentialHelperFailed(
                f'exec: "{self.program}": executable file not found in $PATH',
                hint=f"install {self.program}, or remove it from credsStore and credHelpers",
            )
        try:
            done = subprocess.run(
                [program, action],
                input=stdin.encode(),
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CredentialHelperFailed(f"{self.program} {action} did not finish: {error}") from error
        output = done.stdout.decode(errors="replace").strip()
        if done.returncode == 0:
            return output
        if _NOT_FOUND in output:
            return None
        # A helper's output after a failure is a message, except for `get`, where a broken one might leak.
        said = output if action != "get" else done.stderr.decode(errors="replace").strip() or output[:200]
        raise CredentialHelperFailed(f"{self.program} {action} failed (exit code {done.returncode}): {said}")
