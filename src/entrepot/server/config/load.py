"""From a TOML file, the environment and the command line to a `Config`.

Later wins: defaults, file, `ENTREPOT_SECTION_KEY`, flags. Everything that is wrong is said at once.
`origins` of the result tell for each setting where its value came from.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

from entrepot.server.config.errors import ConfigInvalid
from entrepot.server.config.model import Config
from entrepot.server.config.values import convert

ENV_PREFIX = "ENTREPOT_"
CONFIG_ENV = "ENTREPOT_CONFIG"
SECTIONS: dict[str, Any] = get_type_hints(Config)


@dataclasses.dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration and, per `section.key`, what set it: a file, a variable, a flag."""

    config: Config
    origins: Mapping[str, str]


def load(
    path: str | Path | None = None,
    *,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """The configuration. `overrides` are flags, as `section.key`. Raises ConfigInvalid, all problems in
    it."""
    return load_with_origins(path, env=env, overrides=overrides).config


def load_with_origins(
    path: str | Path | None = None,
    *,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> LoadedConfig:
    """As `load`, and where each value came from. Raises ConfigInvalid."""
    problems: list[str] = []
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    origins: dict[str, str] = {}
    environment = os.environ if env is None else env
    path = path or environment.get(CONFIG_ENV) or None

    def put(section: str, key: str, raw: object, origin: str, name: str, *, from_text: bool) -> None:
        kind = get_type_hints(SECTIONS[section])[key]
        try:
            values[section][key] = convert(raw, kind, from_text=from_text)
            origins[f"{section}.{key}"] = origin
        except ValueError as error:
            problems.append(f"{name} {error}")

    if path is not None:
        for section, key, raw in _file_settings(Path(path), problems):
            put(section, key, raw, str(path), f"{path}: {section}.{key}", from_text=False)
    for section, key in all_settings():
        variable = variable_name(section, key)
        if variable in environment:
            put(section, key, environment[variable], variable, variable, from_text=True)
    for name, raw in (overrides or {}).items():
        section, _, key = name.partition(".")
        put(section, key, raw, "command line", name, from_text=isinstance(raw, str))
    if problems:
        raise ConfigInvalid(problems, hint="entrepot config check says the same without starting anything")
    sections = {name: kind(**values[name]) for name, kind in SECTIONS.items()}
    config = Config(**sections)
    problems = contradictions(config)
    if problems:
        raise ConfigInvalid(problems)
    return LoadedConfig(config, origins)


def all_settings() -> Iterator[tuple[str, str]]:
    """(section, key) of every setting, in the order of the model."""
    for section, kind in SECTIONS.items():
        for item in dataclasses.fields(kind):
            yield section, item.name


def variable_name(section: str, key: str) -> str:
    """The environment variable of a setting."""
    return f"{ENV_PREFIX}{section}_{key}".upper()


def _file_settings(path: Path, problems: list[str]) -> Iterator[tuple[str, str, object]]:
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        problems.append(f"{path}: {(error.strerror or str(error)).lower()}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: not TOML: {error}")
        return
    for section, table in document.items():
        if section not in SECTIONS:
            problems.append(f"{path}: no section [{section}]{_did_you_mean(section, SECTIONS)}")
            continue
        if not isinstance(table, dict):
            problems.append(f"{path}: {section} is not a section; write [{section}]")
            continue
        known = {item.name for item in dataclasses.fields(SECTIONS[section])}
        for key, raw in table.items():
            if key in known:
                yield section, key, raw
            else:
                problems.append(f"{path}: no setting {section}.{key}{_did_you_mean(key, known)}")


def _did_you_mean(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


_PLAIN: Final = "is plain HTTP; write https://, or set {} = true"


def _is_plain(endpoint: str) -> bool:
    return endpoint.startswith("http://")


def contradictions(config: Config) -> list[str]:
    """What no single setting can tell. Pure."""
    problems = []
    if (config.tls.cert is None) != (config.tls.key is None):
        problems.append("tls.cert and tls.key belong together; give both")
    if config.tls.self_signed and config.tls.cert is not None:
        problems.append("tls.self_signed makes a certificate; it cannot be used with tls.cert")
    if not config.server.listen:
        problems.append("server.listen is empty; give at least one address such as 127.0.0.1:5000")
    if (config.storage.cdn_key_id == "") != (config.storage.cdn_key_file is None):
        problems.append("storage.cdn_key_id and storage.cdn_key_file belong together; give both")
    if _is_plain(config.storage.endpoint) and not config.storage.allow_http:
        problems.append(f"storage.endpoint {_PLAIN.format('storage.allow_http')}")
    if any(_is_plain(source.endpoint) and not source.allow_http for source in config.repair.sources):
        problems.append(f"an endpoint of repair.sources {_PLAIN.format('its allow_http')}")
    if config.tracing.sample > 1:
        problems.append("tracing.sample is a share between 0 and 1")
    if config.access.mode == "accounts" and config.server.allow_open:
        problems.append('--open asks for open mode but access.mode is "accounts"')
    return problems
