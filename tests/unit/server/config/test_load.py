"""Settings from file, environment and flags; everything wrong is said at once."""

from dataclasses import fields
from pathlib import Path

import pytest

from entrepot.server.config import Config, ConfigInvalid, load
from entrepot.server.config.load import all_settings, load_with_origins, variable_name
from entrepot.server.config.reference import markdown, settings
from entrepot.server.config.values import convert, show

ROOT = Path(__file__).resolve().parents[4]


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load(env={}) == Config()


def test_later_sources_win(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\nlisten = [":1"]\nworkers = 3\npublic_url = "https://a"\n')
    env = {"ENTREPOT_SERVER_WORKERS": "4", "ENTREPOT_SERVER_LISTEN": ":2, :3"}
    loaded = load_with_origins(path, env=env, overrides={"server.workers": 5})
    assert loaded.config.server.listen == (":2", ":3")
    assert loaded.config.server.workers == 5
    assert loaded.config.server.public_url == "https://a"
    assert loaded.origins == {
        "server.listen": "ENTREPOT_SERVER_LISTEN",
        "server.workers": "command line",
        "server.public_url": str(path),
    }


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nworkers = 7\n")
    assert load(env={"ENTREPOT_CONFIG": str(path)}).server.workers == 7


def test_every_problem_is_told(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[server]\nworker = 1\nworkers = "two"\n[limit]\n[limits]\nmanifest_bytes = "4 apples"\n'
        '[manifests]\nsparse = "some"\n',
    )
    with pytest.raises(ConfigInvalid) as caught:
        load(path, env={"ENTREPOT_SERVER_HTTP2": "perhaps"})
    problems = caught.value.problems
    assert any("no setting server.worker; did you mean `workers`?" in each for each in problems)
    assert any("no section [limit]; did you mean `limits`?" in each for each in problems)
    assert any("server.workers is 'two'; it is a whole number" in each for each in problems)
    assert any("limits.manifest_bytes is '4 apples'" in each for each in problems)
    assert any("manifests.sparse is 'some'; it may be 'off', 'index', 'all'" in each for each in problems)
    assert any("ENTREPOT_SERVER_HTTP2 is 'perhaps'" in each for each in problems)
    assert len(problems) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [("server = 1", "write [server]"), ("[server", "not TOML"), ("\x00", "not TOML")],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"settings\.toml") as caught:
        load(write(tmp_path, text), env={})
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"tls.cert": "/c.pem"}, "belong together"),
        ({"storage.endpoint": "http://s3.test"}, r"set storage\.allow_http = true"),
        ({"tls.cert": "/c.pem", "tls.key": "/k.pem", "tls.self_signed": True}, "cannot be used with"),
        ({"server.listen": []}, "is empty"),
        ({"access.mode": "accounts", "server.allow_open": True}, "--open"),
    ],
)
def test_contradictions_are_told(overrides: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigInvalid, match=said):
        load(env={}, overrides=overrides)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("4MiB", 4 << 20), ("4 mib", 4 << 20), ("4m", 4 << 20), ("1GB", 10**9), ("1.5KiB", 1536), ("7", 7)],
)
def test_sizes_are_read(text: str, amount: int) -> None:
    from entrepot.server.config.model import Bytes

    assert convert(text, Bytes, from_text=True) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("10s", 10), ("15min", 900), ("24h", 86400), ("7d", 604800), ("250ms", 0.25), ("3", 3)],
)
def test_durations_are_read(text: str, amount: float) -> None:
    from entrepot.server.config.model import Seconds

    assert convert(text, Seconds, from_text=True) == amount


@pytest.mark.parametrize("text", ["-1", "1e9", "inf", "nan", "", "ten", "1 fortnight", "٣"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    from entrepot.server.config.model import Bytes, Seconds

    for kind in (Bytes, Seconds):
        with pytest.raises(ValueError, match="it is a"):
            convert(text, kind, from_text=True)


def test_secrets_are_not_shown() -> None:
    config = load(env={"ENTREPOT_STORAGE_SECRET_ACCESS_KEY": "hunter2"})
    assert "hunter2" not in repr(config)
    assert str(config.storage.secret_access_key) == "hunter2"
    assert show(config.storage.secret_access_key, str) == '"***"'


def test_every_setting_is_documented() -> None:
    """The model's own lines are the documentation; docs/settings.md is printed from them."""
    missing = [row.name for row in settings() if not row.text]
    assert missing == []
    assert (ROOT / "docs" / "settings.md").read_text() == markdown(), (
        "bring it up to date with: entrepot config show --docs > docs/settings.md"
    )


def test_variables_are_unambiguous() -> None:
    names = [variable_name(section, key) for section, key in all_settings()]
    assert len(names) == len(set(names))
    assert all(item.name.islower() for item in fields(Config))
