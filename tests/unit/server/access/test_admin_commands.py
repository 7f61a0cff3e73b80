"""`entrepot admin` for accounts: one walk through all commands, on a catalog of its own."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from entrepot.cli.commands.admin import admin
from entrepot.errors import NotFound
from entrepot.server.access.secrets.sealing import SealBroken
from entrepot.server.compose import prepare_now
from entrepot.server.config.model import AccessSection, Config, ServerSection

PASSWORD = "correct horse battery\n"


class Admin:
    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *args: str, stdin: str | None = None, fails: bool = False) -> str:
        argv = ["--data", str(self.data), *args]
        done: Result = CliRunner().invoke(admin, argv, input=stdin, catch_exceptions=fails)
        assert (done.exit_code != 0) is fails, done.output
        return str(done.exception) if fails else done.stdout

    def json(self, *args: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*args, "--format", "json").splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> Admin:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    prepare_now(Config(server=ServerSection(data=data), access=AccessSection(mode="accounts")))
    return Admin(data)


def test_users_projects_grants_and_explanations(run: Admin) -> None:
    run("user", "create", "alice", "--password-stdin", stdin=PASSWORD)
    run("user", "create", "root", "--admin", "--password-stdin", stdin=PASSWORD)
    assert "setup?token=ent_set_" in run("user", "create", "bob", "--invite")
    assert "too short" in run("user", "create", "eve", "--password-stdin", stdin="short\n", fails=True)
    assert "exists" in run("user", "create", "alice", "--password-stdin", stdin=PASSWORD, fails=True)
    run("project", "create", "acme", "--owner", "alice", "--quota", "1000000")
    run("team", "create", "devs", "--follows", "corp:developers")
    run("team", "add", "devs", "bob")
    run("role", "create", "releaser", "pull", "push", "create-tag")
    number = run("grant", "add", "team:devs", "releaser", "acme/app/**", "--tags", "v*").strip()
    shown = run("explain", "bob", "create-tag", "acme/app:v1")
    assert shown.startswith("yes: bob is releaser through team devs")
    assert f"rule: grant:{number}" in shown
    assert run("explain", "bob", "overwrite-tag", "acme/app:v1").startswith("no: ")
    assert (
        json.loads(run("explain", "anonymous", "pull", "acme/app", "--format", "json"))["rule"] == "sign-in"
    )
    assert run("user", "unlock", "alice") == "alice\n"
    run("grant", "remove", number)
    assert run("explain", "bob", "create-tag", "acme/app:v1").startswith("no: ")
    run("project", "set", "acme", "--visibility", "public", "--quota", "none")
    assert run("explain", "anonymous", "pull", "acme/app").startswith("yes: acme is public")
    run("user", "set", "bob", "--disable", "--system-role", "auditor")
    rows = {row["name"]: row for row in run.json("user", "list")}
    assert (rows["bob"]["enabled"], rows["bob"]["system_role"], rows["root"]["system_role"]) == (
        False,
        "auditor",
        "admin",
    )
    assert run.json("grant", "list", "--project", "acme")[0]["who"] == "alice"
    run("team", "remove", "devs", "bob")
    run("team", "delete", "devs")
    run("role", "delete", "releaser")
    run("user", "password", "alice", "--password-stdin", stdin="another good one\n")
    run("user", "delete", "alice")
    run("project", "creation", "signed-in")


def test_secrets_are_printed_once_and_alone(run: Admin) -> None:
    run("user", "create", "alice", "--password-stdin", stdin=PASSWORD)
    run("project", "create", "acme", "--owner", "alice")
    secret = run("robot", "create", "acme+ci", "--role", "developer", "--expires", "30d").strip()
    other = run("robot", "rotate", "acme+ci", "--overlap", "1h").strip()
    token = run("token", "create", "alice", "--action", "pull", "--repositories", "acme/**").strip()
    for text, kind in ((secret, "ent_rob_"), (other, "ent_rob_"), (token, "ent_pat_")):
        assert text.startswith(kind)
        assert "\n" not in text
    listed = run("token", "list", "alice") + run("token", "list", "acme+ci") + run("robot", "list")
    assert not any(text in listed for text in (secret, other, token))
    run("token", "revoke", run.json("token", "list", "alice")[0]["id"])
    rule = run(
        "robot", "trust", "acme+ci", "--issuer", "https://ci.test", "--claim", "repository=acme/app"
    ).strip()
    assert run.json("robot", "trusts", "acme+ci")[0]["claims"] == ["repository=acme/app"]
    run("robot", "distrust", "acme+ci", rule)
    run("robot", "set", "acme+ci", "--disable")
    run("robot", "delete", "acme+ci")
    assert run("token", "certificates").startswith("-----BEGIN CERTIFICATE-----")
    assert run("token", "rotate-key").count(":") == 11
    assert run("token", "certificates").count("BEGIN CERTIFICATE") == 2


def test_sources_keep_their_secret(run: Admin) -> None:
    run(
        "source", "add", "corp", "oidc", "issuer=https://id.test", "client_id=entrepot", "--secret-stdin",
        stdin="the client's secret\n",
    )  # fmt: skip
    assert "no setting" in run(
        "source", "add", "x", "oidc", "issuer=https://id.test", "colour=red", fails=True
    )
    assert "the client's secret" not in run("source", "list")
    assert b"the client's secret" not in (run.data / "catalog.db").read_bytes()
    run("source", "disable", "corp")
    assert run.json("source", "list")[0]["enabled"] is False
    run("source", "enable", "corp")
    run("source", "remove", "corp")


def test_projects_are_deleted_and_undone(run: Admin) -> None:
    run("project", "create", "acme")
    run("project", "delete", "acme")
    assert [(row["what"], row["name"]) for row in run.json("undo")] == [("project", "acme")]
    run("undo", "--project", "acme")
    assert [row["name"] for row in run.json("project", "list")] == ["acme"]
    for what in ("acme/app", "acme/app:v1"):
        assert run("undo", what, fails=True)


def test_a_key_file_that_is_missing_or_another_one_is_told_before_anything_starts(run: Admin) -> None:
    """A key made now would open nothing: processes would end, and be replaced, for ever."""
    config = Config(server=ServerSection(data=run.data), access=AccessSection(mode="accounts"))
    key = run.data / "access.key"
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(NotFound, match=r"access\.key is not here"):
        prepare_now(config)
    assert not key.exists()
    key.write_bytes(bytes(32))
    with pytest.raises(SealBroken) as refused:
        prepare_now(config)
    assert "rotate-key --key-file-lost" in str(refused.value.hint)
    key.write_bytes(kept)
    prepare_now(config)


def test_a_lost_key_file_costs_signing_keys_and_secrets_of_sources_only(run: Admin) -> None:
    config = Config(server=ServerSection(data=run.data), access=AccessSection(mode="accounts"))
    run("user", "create", "alice", "--admin", "--password-stdin", stdin=PASSWORD)
    corp = ["corp", "oidc", "issuer=https://id.example.org", "client_id=entrepot", "scopes=openid email"]
    run("source", "add", *corp, "--secret-stdin", stdin="a secret of theirs\n")
    (run.data / "access.key").unlink()
    said = run("token", "rotate-key", "--key-file-lost").splitlines()
    assert said[0].count(":") == 11
    assert said[1] == "corp: its secret is lost; remove it and add it again:"
    assert [row["enabled"] for row in run.json("source", "list")] == [False]
    prepare_now(config)
    assert run("token", "certificates").count("BEGIN CERTIFICATE") == 1
    assert "alice" in run("user", "list")
    before = run.json("source", "list")[0]["settings"]
    for line in said[2:]:  # as it says, word for word
        run(*shlex.split(line)[2:], stdin="a secret of theirs\n")
    (corp_again,) = run.json("source", "list")
    assert (corp_again["enabled"], corp_again["settings"]) == (True, before)


def test_a_key_file_that_opens_everything_is_not_lost(run: Admin) -> None:
    assert "opens what is sealed" in run("token", "rotate-key", "--key-file-lost", fails=True)
