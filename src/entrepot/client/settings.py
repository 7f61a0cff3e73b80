"""The client's settings: which files, read once, into one value.

`$XDG_CONFIG_HOME/entrepot/registries.toml` is ours. containers' `registries.conf` (rewrites, mirrors,
`insecure`, `blocked`; short names are off, docker's rules hold) and docker's and containers' `certs.d`
directories are honoured where they exist.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from entrepot.client.credentials import CredentialStore
from entrepot.client.errors import SettingsInvalid
from entrepot.client.hosts import MirrorRule, PrefixRule, RegistrySettings, Trust
from entrepot.client.retry import RetryPolicy

log = logging.getLogger(__name__)

USER_AGENT = "entrepot/0.1 (docker-compatible)"
_SYSTEM_CERTIFICATES = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))


class ClientSettings(msgspec.Struct, frozen=True):
    """Everything the client reads from its surroundings."""

    credentials: CredentialStore
    default_registry: str | None = None
    """`[http://]host[:port][/prefix]` spoken to instead of Docker Hub; names stay `docker.io/…`."""
    registries: Mapping[str, RegistrySettings] = msgspec.field(default_factory=dict)
    rules: tuple[PrefixRule, ...] = ()
    """containers' registries.conf."""
    certificate_directories: tuple[Path, ...] = ()
    """Directories with one sub-directory a `host[:port]`."""
    insecure: bool = False
    """`--insecure`: every registry of this run may show any certificate or speak plain HTTP."""
    proxies: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Proxy URL by scheme of the request (`http`, `https`)."""
    no_proxy: str = ""
    retry: RetryPolicy = msgspec.field(default_factory=RetryPolicy)
    connect_timeout_s: float = 15.0
    read_timeout_s: float = 60.0
    """Longest silence inside an answer."""
    connections: int = 8
    """Connections kept to one host."""
    public_addresses_only: bool = False
    """Refuse to connect to anything but public addresses. For servers that fetch what users name."""
    client_id: str = "entrepot"
    """How we introduce ourselves to token servers."""
    user_agent: str = USER_AGENT

    @classmethod
    def load(cls, env: Mapping[str, str], *, insecure: bool = False) -> ClientSettings:
        """Read all files `env` leads to. Raises SettingsInvalid for registries.toml; others only warn."""
        home = Path(env.get("HOME") or Path("~").expanduser())
        config_home = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home / ".config"
        default_registry, registries = _load_registries(config_home / "entrepot" / "registries.toml")
        proxies, no_proxy = proxies_of(env)
        return cls(
            credentials=CredentialStore.from_env(env),
            default_registry=env.get("ENTREPOT_DEFAULT_REGISTRY") or default_registry,
            registries=registries,
            rules=_load_containers_rules(env, config_home),
            certificate_directories=(
                config_home / "docker" / "certs.d",
                config_home / "containers" / "certs.d",
                *_SYSTEM_CERTIFICATES,
            ),
            insecure=insecure,
            proxies=proxies,
            no_proxy=no_proxy,
        )

    def with_insecure(self, insecure: bool = True) -> ClientSettings:
        return msgspec.structs.replace(self, insecure=insecure)

    def certificates(self, host: str) -> Trust:
        """`*.crt` (authorities) and the first `*.cert` with its `*.key` of the host's directory."""
        authorities: list[Path] = []
        certificate: Path | None = None
        key: Path | None = None
        if "/" in host or host.startswith("."):
            return Trust()
        for parent in self.certificate_directories:
            directory = parent / host
            try:
                names = sorted(path for path in directory.iterdir() if path.is_file())
            except OSError:
                continue
            authorities.extend(path for path in names if path.suffix == ".crt")
            for path in names:
                if certificate is None and path.suffix == ".cert" and path.with_suffix(".key").exists():
                    certificate, key = path, path.with_suffix(".key")
        return Trust(ca_files=tuple(authorities), client_certificate=certificate, client_key=key)


_FIELDS: Mapping[str, type] = {
    "mirrors": list,
    "plain-http": bool,
    "insecure": bool,
    "ca": str,
    "client-cert": str,
    "client-key": str,
    "token-realms": list,
    "blocked": bool,
}


def parse_registries(text: str, *, where: str) -> tuple[str | None, dict[str, RegistrySettings]]:
    """`default-registry` and the `[registry."HOST"]` tables. Raises SettingsInvalid naming the key."""
    import tomllib  # most users have no such file

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{where}: {error}", hint="docs/registries.md has the format") from error
    for key in document:
        if key not in {"default-registry", "registry"}:
            raise SettingsInvalid(f"{where}: unknown key {key!r}", hint="known: default-registry, registry")
    default = document.get("default-registry")
    if default is not None and (not isinstance(default, str) or not default):
        raise SettingsInvalid(f"{where}: default-registry must be a host such as registry.example:5000")
    tables = document.get("registry", {})
    if not isinstance(tables, dict):
        raise SettingsInvalid(f'{where}: registry must be tables named [registry."HOST"]')
    return default, {host: _parse_table(host, table, where) for host, table in tables.items()}


def _parse_table(host: str, table: Any, where: str) -> RegistrySettings:
    if not isinstance(table, dict):
        raise SettingsInvalid(f'{where}: [registry."{host}"] must be a table')
    values: dict[str, Any] = {}
    for key, value in table.items():
        kind = _FIELDS.get(key)
        if kind is None:
            known = ", ".join(_FIELDS)
            raise SettingsInvalid(f'{where}: [registry."{host}"] has no key {key!r}', hint=f"known: {known}")
        of_strings = kind is list and isinstance(value, list) and all(isinstance(item, str) for item in value)
        if not isinstance(value, kind) or (kind is list and not of_strings):
            wanted = {bool: "true or false", str: "a string", list: "a list of strings"}[kind]
            raise SettingsInvalid(f'{where}: {key} of [registry."{host}"] must be {wanted}')
        values[key.replace("-", "_")] = tuple(value) if isinstance(value, list) else value
    for key in ("ca", "client_cert", "client_key"):
        if key in values:
            values[key] = Path(values[key]).expanduser()
    return RegistrySettings(**values)


def _load_registries(path: Path) -> tuple[str | None, dict[str, RegistrySettings]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {error}") from error
    return parse_registries(text, where=str(path))


def parse_containers_rules(text: str) -> tuple[PrefixRule, ...]:
    """The `[[registry]]` tables of a registries.conf (version 2); incomplete ones are passed over.

    Raises ValueError for what is not TOML.
    """
    if not _has_registry_table(text):
        return ()  # as Debian ships them, comments and aliases: reading that takes 4 ms of each pull
    import tomllib

    found = []
    for table in tomllib.loads(text).get("registry", []):
        location = str(table.get("location") or "")
        prefix = str(table.get("prefix") or location)
        if not prefix:
            continue
        mirrors = tuple(
            MirrorRule(
                location=str(mirror["location"]),
                insecure=bool(mirror.get("insecure", False)),
                only=_restriction(table, mirror),
            )
            for mirror in table.get("mirror", [])
            if mirror.get("location")
        )
        found.append(
            PrefixRule(
                prefix=prefix,
                location="" if location == prefix else location,
                insecure=bool(table.get("insecure", False)),
                blocked=bool(table.get("blocked", False)),
                mirrors=mirrors,
            )
        )
    return tuple(found)


def _has_registry_table(text: str) -> bool:
    """False only where there is none: a table's heading or a line before the first one would name it."""
    at_top = True
    for line in map(str.lstrip, text.splitlines()):
        is_heading = line.startswith("[")
        at_top = at_top and not is_heading
        if (is_heading or at_top) and "registry" in line and not line.startswith("#"):
            return True
    return False


def _restriction(table: Mapping[str, Any], mirror: Mapping[str, Any]) -> str:
    value = mirror.get("pull-from-mirror") or ("digest-only" if table.get("mirror-by-digest-only") else "all")
    return value if value in {"digest-only", "tag-only"} else ""


def _load_containers_rules(env: Mapping[str, str], config_home: Path) -> tuple[PrefixRule, ...]:
    chosen = env.get("CONTAINERS_REGISTRIES_CONF")
    if chosen:
        files = [Path(chosen)]
    else:
        user = config_home / "containers" / "registries.conf"
        main = user if user.exists() else Path("/etc/containers/registries.conf")
        files = [main]
        for directory in (
            Path("/etc/containers/registries.conf.d"),
            config_home / "containers" / "registries.conf.d",
        ):
            files.extend(sorted(directory.glob("*.conf")) if directory.is_dir() else [])
    rules: dict[str, PrefixRule] = {}
    for path in files:
        try:
            found = parse_containers_rules(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, TypeError) as error:
            log.warning("%s cannot be read: %s", path, error)
            continue
        # Later files replace entries of the same prefix.
        rules.update({rule.prefix: rule for rule in found})
    return tuple(rules.values())


def proxies_of(env: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """HTTP proxies by scheme, and where they are not used."""
    return _proxies(env), env.get("no_proxy") or env.get("NO_PROXY") or ""


def _proxies(env: Mapping[str, str]) -> dict[str, str]:
    """HTTP_PROXY and HTTPS_PROXY, either case. Under CGI, HTTP_PROXY comes from a request and is ignored."""
    found = {}
    for scheme in ("http", "https"):
        value = env.get(f"{scheme}_proxy") or env.get(f"{scheme.upper()}_PROXY")
        if scheme == "http" and "REQUEST_METHOD" in env:
            value = env.get("http_proxy")
        value = value or env.get("all_proxy") or env.get("ALL_PROXY")
        if value:
            found[scheme] = value if "://" in value else f"http://{value}"
    return found
