"""`login` and `logout` against a registry that wants a password."""

import base64
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.tool import Tool

GOOD = "Basic " + base64.b64encode(b"user:p w").decode()

HELPER = """#!/bin/sh
# A credential helper that keeps everything in one file.
case "$1" in
  store) cat > "$0.kept" ;;
  get) cat "$0.kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
  erase) rm -f "$0.kept" ;;
esac
"""


class Guarded(BaseHTTPRequestHandler):
    """Answers `/v2/` to one account."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == GOOD
        body = (
            b"{}" if allowed else b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        )
        self.send_response(200 if allowed else 401)
        if not allowed:
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET


@pytest.fixture
def guarded() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.05), daemon=True)
    thread.start()
    yield f"localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(30)


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    return Tool(tmp_path_factory.mktemp("login"), "localhost:1")


def test_password_that_works_is_stored_and_forgotten(alone: Tool, guarded: str) -> None:
    done = alone.run("login", "-u", "user", "--password-stdin", guarded, stdin=b"p w\n")
    assert done.stdout == b"Login Succeeded\n"
    config = alone.home / ".docker" / "config.json"
    assert done.stderr.decode().splitlines() == [
        "", f"WARNING! Your credentials are stored unencrypted in '{config}'.",
        "Configure a credential helper to remove this warning. See",
        "https://docs.docker.com/go/credential-store/", "",
    ]  # fmt: skip
    assert config.stat().st_mode & 0o777 == 0o600
    assert json.loads(config.read_bytes())["auths"] == {guarded: {"auth": GOOD.removeprefix("Basic ")}}
    again = alone.run("login", guarded)
    assert again.stdout == b"Login Succeeded\n"
    assert again.stderr.startswith(b"Authenticating with existing credentials... [Username: user]\n")
    assert alone.out("logout", guarded) == f"Removing login credentials for {guarded}\n"
    assert json.loads(config.read_bytes())["auths"] == {}
    assert alone.out("logout") == "Removing login credentials for https://index.docker.io/v1/\n"


def test_password_that_is_wrong_is_not_stored(alone: Tool, guarded: str) -> None:
    done = alone.run("login", "-u", "user", "-p", "wrong", guarded, code=1)
    warning, error = done.stderr.decode().splitlines()
    assert warning == "WARNING! Using --password via the CLI is insecure. Use --password-stdin."
    assert error == f"Error: login attempt to http://{guarded}/v2/ failed with status: 401 Unauthorized"
    assert not (alone.home / ".docker" / "config.json").exists()


def test_refused_pull_says_that_logging_in_may_help(alone: Tool, guarded: str) -> None:
    text = alone.err("pull", f"{guarded}/team/app:1")
    assert "login" in text
    assert text.count("\n") == 1


def test_a_broken_file_is_told_once_and_not_touched(alone: Tool, guarded: str) -> None:
    config = alone.home / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text("{ broken")
    done = alone.run("login", "-u", "user", "--password-stdin", guarded, stdin=b"p w", code=1)
    warning, error = done.stderr.decode().splitlines()
    assert warning.startswith(f"WARNING: Error parsing config file ({config}): ")
    assert error.startswith(f"Error: {config} cannot be changed: ")
    assert config.read_text() == "{ broken"


def test_helper_keeps_the_secret(alone: Tool, guarded: str) -> None:
    programs = alone.home / "bin"
    programs.mkdir()
    helper = programs / "docker-credential-test"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    (alone.home / ".docker").mkdir()
    (alone.home / ".docker" / "config.json").write_text('{"credsStore": "test"}')
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    done = alone.run("login", "-u", "user", "--password-stdin", guarded, stdin=b"p w", env=env)
    assert (done.stdout, done.stderr) == (b"Login Succeeded\n", b"")
    assert "p w" not in (alone.home / ".docker" / "config.json").read_text()
    assert json.loads((programs / "docker-credential-test.kept").read_bytes())["Secret"] == "p w"
    # The account is found again: a repository that is not there, instead of a password that is missing.
    assert "login" not in alone.run("logout", guarded, env=env).stderr.decode()
    assert not (programs / "docker-credential-test.kept").exists()
