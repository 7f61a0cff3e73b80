"""Who we are to a registry: docker's and containers' credential files and helpers, read and written.

Where a credential is looked for, the first hit wins. Accounts for a repository prefix
(`registry.example/team`) come before the account of the whole registry:

1. the variable `DOCKER_AUTH_CONFIG`
2. docker's config file (`$DOCKER_CONFIG/config.json` or `~/.docker/config.json`):
   `credHelpers` of the registry, else `credsStore`, else its `auths`. With a helper configured, secrets in
   the file are not used, even when the helper has none.
3. containers' files: `$REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`,
   `$XDG_CONFIG_HOME/containers/auth.json`

A file that cannot be read as what it should be is reported and passed over: we go on anonymously.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from entrepot.client.errors import CredentialHelperFailed, CredentialsUnwritable
from entrepot.client.helpers import IDENTITY_TOKEN_USER, CredentialHelper

log = logging.getLogger(__name__)

HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"


class Credential(msgspec.Struct, frozen=True):
    """An account at one registry. Never printed: the representation shows the user name only."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    """An OAuth2 refresh token; wins over the password."""
    registry_token: str = ""
    """A ready bearer token, sent as it is."""
    origin: str = ""
    """The file, helper or variable it came from."""

    def __repr__(self) -> str:
        return f"Credential(username={self.username!r}, origin={self.origin!r})"

    @property
    def is_empty(self) -> bool:
        return not (self.username or self.password or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """Value of a Basic `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class StoreOutcome(msgspec.Struct, frozen=True):
    """What `store` did: where the secret is now, whether that place encrypts it, whether anything changed."""

    place: str
    encrypted: bool
    changed: bool


def server_key(registry: str) -> str:
    """The key docker files a registry under: its host, except for Docker Hub."""
    return HUB_KEY if registry in {HUB, "index.docker.io"} else registry


def hostname_of(key: str) -> str:
    """The host in a key of a credentials file, old ones with scheme and path included."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


class CredentialSource(Protocol):
    """Who we are to a registry."""

    def lookup(self, registry: str, repository: str | None = None) -> Credential | None:
        """The credential for a repository, or for the registry as a whole; None means anonymous."""
        ...


class OneCredential:
    """The same account for whatever is asked: for programs that keep accounts themselves."""

    def __init__(self, credential: Credential | None) -> None:
        self._credential = credential

    def lookup(self, registry: str, repository: str | None = None) -> Credential | None:  # noqa: ARG002
        return self._credential


class CredentialStore:
    """All places for credentials of one user, in order of precedence. Files are read when asked."""

    def __init__(
        self,
        *,
        docker_config: Path,
        auth_files: tuple[Path, ...] = (),
        inline: str | None = None,
        helper_path: str | None = None,
    ) -> None:
        """`inline` is the text of DOCKER_AUTH_CONFIG; `helper_path` the PATH helpers are searched in."""
        self.docker_config = docker_config
        self.auth_files = auth_files
        self._inline = inline
        self._helper_path = helper_path

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> CredentialStore:
        home = Path(env.get("HOME") or Path("~").expanduser())
        docker_directory = Path(env["DOCKER_CONFIG"]) if env.get("DOCKER_CONFIG") else home / ".docker"
        auth_files: list[Path] = []
        if env.get("REGISTRY_AUTH_FILE"):
            auth_files.append(Path(env["REGISTRY_AUTH_FILE"]))
        else:
            if env.get("XDG_RUNTIME_DIR"):
                auth_files.append(Path(env["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
            config_home = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home / ".config"
            auth_files.append(config_home / "containers" / "auth.json")
        return cls(
            docker_config=docker_directory / "config.json",
            auth_files=tuple(auth_files),
            inline=env.get("DOCKER_AUTH_CONFIG"),
            helper_path=env.get("PATH"),
        )

    # Reading

    def lookup(self, registry: str, repository: str | None = None) -> Credential | None:
        """The credential for a repository (or the registry as a whole); None means anonymous."""
        documents = list(self._documents())
        for prefix in _prefixes(registry, repository):
            for origin, document in documents:
                if found := _entry_for_prefix(document, prefix, origin):
                    return found
        for origin, document in documents:
            if origin == str(self.docker_config):
                helper = _helper_name(document, registry)
                if helper is not None:
                    if found := self._ask_helper(helper, registry):
                        return found
                    continue
            if found := _entry_for_registry(document, registry, origin):
                return found
        return None

    def _documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._inline:
            document = _parse_document(self._inline, "DOCKER_AUTH_CONFIG")
            if document is not None:
                yield "DOCKER_AUTH_CONFIG", document
        for path in (self.docker_config, *self.auth_files):
            document = _read_document(path)
            if document is not None:
                yield str(path), document

    def _ask_helper(self, name: str, registry: str) -> Credential | None:
        try:
            answer = CredentialHelper(name, path=self._helper_path).get(server_key(registry))
        except CredentialHelperFailed as error:
            # As docker does: a pull goes on anonymously, `login` reports the same failure in full.
            log.warning("%s; going on without an account", error)
            return None
        if answer is None:
            return None
        username, secret = answer
        origin = f"docker-credential-{name}"
        if username == IDENTITY_TOKEN_USER:
            return Credential(identity_token=secret, origin=origin)
        return Credential(username=username, password=secret, origin=origin)

    # Writing

    def store(self, registry: str, credential: Credential) -> StoreOutcome:
        """Keep `credential` for `registry` (`host[:port]`, or `host/prefix` for a prefix account).

        With a helper configured only the helper holds the secret. A file written is mode 0600 and replaced
        atomically. Raises CredentialHelperFailed or CredentialsUnwritable; the old entry then still holds.
        """
        if "/" in registry:
            path = self.auth_files[-1] if self.auth_files else self.docker_config
            return self._store_in_file(path, registry, credential)
        document = _read_document(self.docker_config) or {}
        name = _helper_name(document, registry)
        key = server_key(registry)
        if name is None:
            return self._store_in_file(self.docker_config, key, credential)
        helper = CredentialHelper(name, path=self._helper_path)
        if credential.identity_token:
            helper.store(key, IDENTITY_TOKEN_USER, credential.identity_token)
        else:
            helper.store(key, credential.username, credential.password)
        if _auths(document).get(key) != {}:
            _change_document(self.docker_config, lambda auths: auths.__setitem__(key, {}))
        return StoreOutcome(helper.program, encrypted=True, changed=True)

    def _store_in_file(self, path: Path, key: str, credential: Credential) -> StoreOutcome:
        entry = _entry_of(credential)
        if _auths(_read_document(path) or {}).get(key) == entry:
            return StoreOutcome(str(path), encrypted=False, changed=False)
        _change_document(path, lambda auths: auths.__setitem__(key, entry))
        return StoreOutcome(str(path), encrypted=False, changed=True)

    def erase(self, registry: str) -> bool:
        """Forget the account of `registry` everywhere it is written; True when something was there."""
        host = hostname_of(registry) if "/" not in registry or "://" in registry else registry
        keys = {registry, server_key(registry), host, f"http://{host}", f"https://{host}"}
        if server_key(registry) == HUB_KEY:
            keys |= {HUB, "index.docker.io"}
        erased = False
        document = _read_document(self.docker_config) or {}
        name = _helper_name(document, registry)
        if name is not None:
            helper = CredentialHelper(name, path=self._helper_path)
            for key in sorted(keys):
                helper.erase(key)
            erased = True
        for path in (self.docker_config, *self.auth_files):
            auths = _auths(_read_document(path) or {})
            present = [key for key in auths if key in keys]
            if present:
                _change_document(
                    path, lambda auths, present=present: [auths.pop(key, None) for key in present]
                )
                erased = True
        return erased


def _prefixes(registry: str, repository: str | None) -> Iterator[str]:
    """`host/a/b`, `host/a`: most specific first. The registry itself is not among them."""
    parts = repository.split("/") if repository else []
    for end in range(len(parts), 0, -1):
        yield "/".join((registry, *parts[:end]))


def _auths(document: Mapping[str, Any]) -> dict[str, Any]:
    auths = document.get("auths")
    return auths if isinstance(auths, dict) else {}


def _helper_name(document: Mapping[str, Any], registry: str) -> str | None:
    helpers = document.get("credHelpers")
    if isinstance(helpers, dict):
        for key in (registry, server_key(registry)):
            name = helpers.get(key)
            if isinstance(name, str) and name:
                return name
    name = document.get("credsStore")
    return name if isinstance(name, str) and name else None


def _entry_for_prefix(document: Mapping[str, Any], prefix: str, origin: str) -> Credential | None:
    entry = _auths(document).get(prefix)
    return _credential_of(entry, prefix, origin) if isinstance(entry, dict) else None


def _entry_for_registry(document: Mapping[str, Any], registry: str, origin: str) -> Credential | None:
    auths = _auths(document)
    names = (server_key(registry), registry)
    for name in names:
        entry = auths.get(name)
        if isinstance(entry, dict) and (found := _credential_of(entry, name, origin)):
            return found
    hosts = {hostname_of(name) for name in names}
    for key, entry in auths.items():
        # Keys as old docker wrote them: a scheme, /v1/ or /v2/ behind. Any other path is a prefix account.
        path = key.removeprefix("https://").removeprefix("http://").partition("/")[2].strip("/")
        if hostname_of(key) not in hosts or path not in {"", "v1", "v2"} or not isinstance(entry, dict):
            continue
        if found := _credential_of(entry, key, origin):
            return found
    return None


def _credential_of(entry: Mapping[str, Any], key: str, origin: str) -> Credential | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        try:
            decoded = base64.b64decode(auth, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            log.warning("the entry %s of %s is not base64", key, origin)
            return None
        username, separator, password = decoded.partition(":")
        if not separator:
            log.warning("the entry %s of %s holds no user:password", key, origin)
            return None
        password = password.strip("\x00")
    found = Credential(
        username=username,
        password=password,
        identity_token=str(entry.get("identitytoken") or ""),
        registry_token=str(entry.get("registrytoken") or ""),
        origin=origin,
    )
    return None if found.is_empty else found


def _entry_of(credential: Credential) -> dict[str, str]:
    password = "" if credential.identity_token else credential.password
    auth = base64.b64encode(f"{credential.username}:{password}".encode()).decode()
    entry = {"auth": auth}
    if credential.identity_token:
        entry["identitytoken"] = credential.identity_token
    return entry


def _read_document(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        log.warning("Error loading config file: %s", error)
        return None
    return _parse_document(text, str(path))


def _parse_document(text: str, origin: str) -> dict[str, Any] | None:
    if not text.strip():
        return None
    try:
        document = json.loads(text)
    except ValueError as error:
        log.warning("Error parsing config file (%s): %s", origin, error)
        return None
    if not isinstance(document, dict):
        log.warning("Error parsing config file (%s): not a JSON object", origin)
        return None
    return document


def _change_document(path: Path, change: Any) -> None:
    """Change the file's `auths` and replace it: mode 0600, other keys kept, symlink followed.

    One process at a time, so that two logins keep both accounts.
    """
    target = path.resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CredentialsUnwritable(f"{path} cannot be written: {error}") from error
    with _alone_in(target.parent):
        document = _read_to_change(path, target)
        auths = document.setdefault("auths", {})
        if not isinstance(auths, dict):
            auths = document["auths"] = {}
        change(auths)
        _replace_document(path, target, document)


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Locks the directory itself, which leaves no file behind. Where that cannot be, goes on without."""
    import fcntl

    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):  # some network file systems
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read_to_change(path: Path, target: Path) -> dict[str, Any]:
    document: dict[str, Any] = {}
    try:
        if target.exists():
            document = json.loads(target.read_text(encoding="utf-8") or "{}")
        if not isinstance(document, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - one handler for whatever is wrong with the text
    except (OSError, ValueError) as error:
        raise CredentialsUnwritable(
            f"{path} cannot be changed: {error}", hint="repair or remove the file, then try again"
        ) from error
    return document


def _replace_document(path: Path, target: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(document, indent="\t", ensure_ascii=False)
    try:
        # mkstemp gives mode 0600 from the first moment on.
        handle, temporary = tempfile.mkstemp(prefix=f"{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise CredentialsUnwritable(f"{path} cannot be written: {error}") from error
