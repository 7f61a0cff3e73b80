"""Where credentials are found and kept: docker's files and helpers, and containers'."""

import base64
import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from entrepot.client.credentials import HUB_KEY, Credential, CredentialStore
from entrepot.client.errors import CredentialHelperFailed, CredentialsUnwritable

HELPER = """#!/usr/bin/env python3
import json, pathlib, sys
place = pathlib.Path(__file__).with_suffix(".json")
known = json.loads(place.read_text()) if place.exists() else {}
text = sys.stdin.read()
if sys.argv[1] == "get":
    if text not in known:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps({"ServerURL": text, **known[text]}))
elif sys.argv[1] == "store":
    entry = json.loads(text)
    known[entry.pop("ServerURL")] = entry
elif sys.argv[1] == "erase":
    known.pop(text, None)
place.write_text(json.dumps(known))
"""


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


class Home:
    """A user's directory with credential files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.docker = root / ".docker" / "config.json"
        self.containers = root / ".config" / "containers" / "auth.json"
        self.variables: dict[str, str] = {}

    def write(self, path: Path, document: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))

    def helper(self, name: str, known: dict[str, Any] | None = None) -> Path:
        program = self.root / "bin" / f"docker-credential-{name}"
        program.parent.mkdir(exist_ok=True)
        program.write_text(HELPER)
        program.chmod(0o755)
        program.with_suffix(".json").write_text(json.dumps(known or {}))
        return program.with_suffix(".json")

    @property
    def store(self) -> CredentialStore:
        path = f"{self.root / 'bin'}:/usr/bin:/bin"
        return CredentialStore.from_env({"HOME": str(self.root), "PATH": path, **self.variables})

    def lookup(self, registry: str, repository: str | None = None) -> str | None:
        found = self.store.lookup(registry, repository)
        return None if found is None else f"{found.username}:{found.password}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("key", "registry", "found"),
    [
        ("reg.example", "reg.example", True),
        ("reg.example:5000", "reg.example:5000", True),
        ("reg.example", "reg.example:5000", False),
        ("http://reg.example/v1/", "reg.example", True),
        ("https://reg.example/v2/", "reg.example", True),
        ("https://reg.example", "reg.example", True),
        (HUB_KEY, "docker.io", True),
        (HUB_KEY, "registry-1.docker.io", False),
        ("docker.io", "docker.io", True),
        ("reg.example/team", "reg.example", False),
        ("other.example", "reg.example", False),
    ],
)
def test_keys_are_matched_as_docker_does(key: str, registry: str, found: bool, home: Home) -> None:
    home.write(home.docker, {"auths": {key: auth("me:pw")}})
    assert home.lookup(registry) == ("me:pw" if found else None)


def test_passwords_may_hold_colons_and_fields_may_be_plain(home: Home) -> None:
    home.write(home.docker, {"auths": {"a": auth("me:p:w"), "b": {"username": "u", "password": "p"}}})
    assert home.lookup("a") == "me:p:w"
    assert home.lookup("b") == "u:p"


def test_identity_tokens_are_found(home: Home) -> None:
    home.write(home.docker, {"auths": {"a": {**auth("me:"), "identitytoken": "tok"}}})
    found = home.store.lookup("a")
    assert found is not None
    assert (found.username, found.identity_token) == ("me", "tok")


def test_the_order_of_places(home: Home) -> None:
    """The variable, then the helper of the registry, then the general one, then files."""
    home.write(home.containers, {"auths": {"a": auth("containers:1")}})
    assert home.lookup("a") == "containers:1"
    home.write(home.docker, {"auths": {"a": auth("file:1")}})
    assert home.lookup("a") == "file:1"
    home.helper("general", {"a": {"Username": "general", "Secret": "1"}})
    home.write(home.docker, {"auths": {"a": auth("file:1")}, "credsStore": "general"})
    assert home.lookup("a") == "general:1"
    home.helper("own", {"a": {"Username": "own", "Secret": "1"}})
    home.write(home.docker, {"auths": {}, "credsStore": "general", "credHelpers": {"a": "own"}})
    assert home.lookup("a") == "own:1"
    home.variables["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"a": auth("variable:1")}})
    assert home.lookup("a") == "variable:1"


def test_with_a_helper_the_secret_in_the_file_is_not_used(home: Home) -> None:
    home.helper("empty")
    home.write(home.docker, {"auths": {"a": auth("file:1")}, "credsStore": "empty"})
    assert home.lookup("a") is None


def test_a_missing_helper_means_anonymous(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.write(home.docker, {"credsStore": "gone"})
    assert home.lookup("a") is None
    assert 'exec: "docker-credential-gone": executable file not found in $PATH' in caplog.text


def test_a_helper_may_hold_an_identity_token(home: Home) -> None:
    home.helper("h", {HUB_KEY: {"Username": "<token>", "Secret": "tok"}})
    home.write(home.docker, {"credsStore": "h"})
    found = home.store.lookup("docker.io")
    assert found is not None
    assert found.identity_token == "tok"


@pytest.mark.parametrize(
    ("repository", "account"),
    [
        ("team/app", "app:1"),
        ("team/app/sub", "app:1"),
        ("team/other", "team:1"),
        ("else", "all:1"),
        (None, "all:1"),
    ],
)
def test_the_longest_prefix_of_a_repository_wins(repository: str | None, account: str, home: Home) -> None:
    home.write(home.docker, {"auths": {"r.example": auth("all:1")}})
    home.write(
        home.containers, {"auths": {"r.example/team": auth("team:1"), "r.example/team/app": auth("app:1")}}
    )
    assert home.lookup("r.example", repository) == account


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"auths": []}', '{"auths": {"a": {"auth": "%%%"}}}', '{"auths": {"a": {"auth": "bm8="}}}'],
)
def test_rubbish_means_anonymous(text: str, home: Home) -> None:
    home.write(home.docker, text)
    assert home.lookup("a") is None


def test_what_is_stored_is_found_and_only_ours_to_read(home: Home) -> None:
    outcome = home.store.store("reg.example", Credential("me", "pw"))
    assert (outcome.place, outcome.encrypted, outcome.changed) == (str(home.docker), False, True)
    assert stat.S_IMODE(home.docker.stat().st_mode) == 0o600
    assert (
        home.docker.read_text()
        == '{\n\t"auths": {\n\t\t"reg.example": {\n\t\t\t"auth": "bWU6cHc="\n\t\t}\n\t}\n}'
    )
    assert home.lookup("reg.example") == "me:pw"
    assert not home.store.store("reg.example", Credential("me", "pw")).changed


def test_storing_keeps_everything_else_and_a_symlink(home: Home) -> None:
    target = home.root / "real.json"
    home.write(target, {"HttpHeaders": {"X": "1"}, "auths": {"other": auth("o:1")}})
    home.docker.parent.mkdir()
    home.docker.symlink_to(target)
    home.store.store("docker.io", Credential("me", "pw"))
    document = json.loads(target.read_text())
    assert home.docker.is_symlink()
    assert document["HttpHeaders"] == {"X": "1"}
    assert document["auths"] == {"other": auth("o:1"), HUB_KEY: auth("me:pw")}


def test_an_identity_token_replaces_the_password(home: Home) -> None:
    home.store.store("a", Credential("me", "pw", identity_token="tok"))
    assert json.loads(home.docker.read_text())["auths"]["a"] == {**auth("me:"), "identitytoken": "tok"}


def test_a_helper_keeps_the_secret_out_of_the_file(home: Home) -> None:
    kept = home.helper("h")
    home.write(home.docker, {"credsStore": "h"})
    outcome = home.store.store("a", Credential("me", "pw"))
    assert outcome.encrypted
    assert json.loads(home.docker.read_text())["auths"] == {"a": {}}
    assert json.loads(kept.read_text())["a"] == {"Username": "me", "Secret": "pw"}
    assert home.store.erase("a")
    assert json.loads(kept.read_text()) == {}
    assert json.loads(home.docker.read_text())["auths"] == {}


def test_storing_with_a_missing_helper_fails_in_words(home: Home) -> None:
    home.write(home.docker, {"credsStore": "gone"})
    with pytest.raises(CredentialHelperFailed, match="executable file not found"):
        home.store.store("a", Credential("me", "pw"))


def test_a_broken_file_is_not_overwritten(home: Home) -> None:
    home.write(home.docker, "{ broken")
    with pytest.raises(CredentialsUnwritable):
        home.store.store("a", Credential("me", "pw"))
    assert home.docker.read_text() == "{ broken"


def test_erasing_forgets_every_spelling(home: Home) -> None:
    home.write(home.docker, {"auths": {"a": auth("m:1"), "https://a": auth("m:1"), "b": auth("m:1")}})
    home.write(home.containers, {"auths": {"a": auth("m:1")}})
    assert home.store.erase("a")
    assert json.loads(home.docker.read_text())["auths"] == {"b": auth("m:1")}
    assert json.loads(home.containers.read_text())["auths"] == {}
    assert not home.store.erase("a")


def test_an_account_for_a_prefix_goes_to_the_containers_file(home: Home) -> None:
    home.store.store("r.example/team", Credential("me", "pw"))
    assert not home.docker.exists()
    assert home.lookup("r.example", "team/app") == "me:pw"
    assert home.lookup("r.example", "other") is None


@pytest.mark.parametrize("name", ["../evil", "a b", "", "-x", "a/b"])
def test_k7_a_helper_is_a_plain_name(name: str, home: Home) -> None:
    home.write(home.docker, {"credHelpers": {"a": name or "/"}})
    assert home.lookup("a") is None


def test_secrets_are_not_shown() -> None:
    shown = repr(Credential("me", "hush", "hush", "hush"))
    assert "hush" not in shown
    assert "me" in shown


def test_logins_at_the_same_time_lose_no_account(tmp_path: Path) -> None:
    registries = [f"registry{number}.example" for number in range(12)]
    start = threading.Barrier(len(registries))

    def log_in(registry: str) -> None:
        store = CredentialStore.from_env({"DOCKER_CONFIG": str(tmp_path / "docker"), "HOME": str(tmp_path)})
        start.wait(60)
        store.store(registry, Credential(username=registry, password="secret"))

    threads = [threading.Thread(target=log_in, args=(registry,)) for registry in registries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = json.loads((tmp_path / "docker" / "config.json").read_text())["auths"]
    assert sorted(kept) == sorted(registries)
    assert [path.name for path in (tmp_path / "docker").iterdir()] == ["config.json"]
