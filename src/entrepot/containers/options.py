"""What a user may ask of a container, and how the words for it are read. Pure but for the host's paths."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from msgspec import Struct

from entrepot.containers.errors import InvalidOption
from entrepot.containers.records import Mount, PortBinding

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(?:i?b)?\Z", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_CPUSET = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\Z")
_CTRL = "abcdefghijklmnopqrstuvwxyz@[\\]^_"
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_VOLUME_FLAGS = frozenset(
    ("ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent", *_PROPAGATIONS)
)


class CreateOptions(Struct, frozen=True):
    """The flags of `create` and `run`, read. Field by field what docker's flag of that name means."""

    name: str = ""
    hostname: str = ""
    user: str | None = None
    env: Sequence[str] = ()
    working_dir: str | None = None
    entrypoint: str | None = None
    """None keeps the image's; an empty text removes it."""
    labels: Mapping[str, str] = {}
    expose: Sequence[str] = ()
    mounts: Sequence[Mount] = ()
    tty: bool = False
    interactive: bool = False
    attach: bool = True
    network: str = "default"
    """`none`, `host`, `pasta`, `slirp4netns`, or `default`: the first of the last two that can work here."""
    ports: Sequence[PortBinding] = ()
    publish_all: bool = False
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    auto_remove: bool = False
    restart: tuple[str, int] = ("no", 0)
    privileged: bool = False
    read_only: bool = False
    init: bool = False
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    security: Sequence[str] = ()
    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    cpus: float = 0.0
    cpuset_cpus: str = ""
    log_driver: str = "json-file"
    volumes_from: Sequence[str] = ()
    pids_limit: int = 0
    shm_bytes: int = 64 << 20
    ipc: str = "private"
    ulimits: Sequence[tuple[str, int, int]] = ()
    extra_hosts: Sequence[str] = ()
    group_add: Sequence[str] = ()
    devices: Sequence[str] = ()
    sysctls: Mapping[str, str] = {}
    stop_signal: str = ""
    stop_timeout_s: int | None = None


def parse_network(text: str) -> str:
    """A network's name. Raises InvalidOption."""
    if text in ("default", "none", "host", "pasta", "slirp4netns"):
        return text
    raise InvalidOption(
        f"network {text} is not supported: containers have one of their own, the host's or none",
        hint="use --network pasta, slirp4netns, host or none",
    )


def parse_dns(text: str) -> str:
    """`--dns`: an address. Raises InvalidOption."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise InvalidOption(f"{text} is not an ip address") from error


def parse_extra_host(text: str) -> str:
    """`--add-host NAME:ADDRESS` or `NAME=ADDRESS`, as `NAME:ADDRESS`. Raises InvalidOption."""
    name, equals, address = text.partition("=")
    if not equals:
        name, _, address = text.partition(":")
    if not name or not address or name.split() != [name]:
        raise InvalidOption(f'bad format for add-host: "{text}"')
    if address == "host-gateway":
        raise InvalidOption(
            "host-gateway is not supported: a container here cannot reach the host's loopback",
            hint="name an address of this machine, or use --network host",
        )
    try:
        return f"{name}:{ipaddress.ip_address(address.removeprefix('[').removesuffix(']'))}"
    except ValueError as error:
        raise InvalidOption(f'invalid IP address in add-host: "{address}"') from error


def parse_volume(text: str) -> Mount:
    """`-v`: `HOST:TARGET[:OPTIONS]`, `NAME:TARGET[:OPTIONS]` or `TARGET`. Raises InvalidOption."""
    parts = text.split(":")
    if len(parts) == 1:
        return Mount(source="", target=_target(parts[0], text), kind="volume", anonymous=True)
    if len(parts) > 3 or not parts[0]:
        raise InvalidOption(f"invalid volume specification: '{text}'")
    flags = parts[2].split(",") if len(parts) == 3 else []
    unknown = [flag for flag in flags if flag not in _VOLUME_FLAGS]
    if unknown:
        raise InvalidOption(f"invalid mode: {parts[2]}")
    propagation = next((flag for flag in flags if flag in _PROPAGATIONS), "rprivate")
    target = _target(parts[1], text)
    if parts[0].startswith(("/", ".", "~")):
        source = str(Path(parts[0]).expanduser().absolute())
        return Mount(source=source, target=target, read_only="ro" in flags, propagation=propagation)
    if not _VOLUME_NAME.match(parts[0]):
        raise _bad_volume_name(parts[0])
    return Mount(source="", target=target, kind="volume", name=parts[0], read_only="ro" in flags)


def _bad_volume_name(name: str) -> InvalidOption:
    return InvalidOption(
        f'create {name}: "{name}" includes invalid characters for a local volume name, only '
        '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
        "use absolute path"
    )


def _target(path: str, text: str) -> str:
    if not path.startswith("/"):
        raise InvalidOption(
            f"invalid volume specification: '{text}': invalid mount path: '{path}' mount path must be "
            f"absolute"
        )
    normal = str(PurePosixPath(path))
    if normal == "/" or ".." in PurePosixPath(path).parts:
        raise InvalidOption(f"invalid volume specification: '{text}': destination can't be '{normal}'")
    return normal


def parse_mount(text: str) -> Mount:
    """`--mount type=…,source=…,target=…[,readonly]`. Raises InvalidOption."""
    values: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        values[key.lower()] = value if equals else "true"
    kind = values.get("type", "volume")
    target = values.get("target") or values.get("destination") or values.get("dst") or ""
    source = values.get("source") or values.get("src") or ""
    read_only = values.get("readonly", values.get("ro", "false")).lower() in ("true", "1")
    if not target:
        raise InvalidOption("target is required")
    target = _target(target, text)
    if kind == "tmpfs":
        size = values.get("tmpfs-size")
        options = f"size={parse_size(size)}" if size else ""
        return Mount(source="", target=target, kind="tmpfs", options=options)
    if kind == "bind":
        if not Path(source).exists():
            raise InvalidOption(
                f'invalid mount config for type "bind": bind source path does not exist: {source}'
            )
        return Mount(source=str(Path(source).absolute()), target=target, read_only=read_only,
                     propagation=values.get("bind-propagation", "rprivate"))  # fmt: skip
    if kind == "volume":
        if source and not _VOLUME_NAME.match(source):
            raise _bad_volume_name(source)
        return Mount(source="", target=target, kind="volume", name=source, read_only=read_only,
                     anonymous=not source)  # fmt: skip
    raise InvalidOption(f"mount type unknown: '{kind}'")


def parse_tmpfs(text: str) -> Mount:
    """`--tmpfs TARGET[:OPTIONS]`."""
    target, _, options = text.partition(":")
    return Mount(source="", target=_target(target, text), kind="tmpfs", options=options)


def parse_size(text: str) -> int:
    """`64m`, `1.5g`, `1024`: bytes. Raises InvalidOption."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise InvalidOption(f"invalid size: '{text}'")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def parse_memory_swap(text: str, memory_bytes: int) -> int:
    """`--memory-swap`: memory and swap together, -1 for no limit. Raises InvalidOption."""
    if text == "-1":
        return -1
    total = parse_size(text)
    if total and not memory_bytes:
        raise InvalidOption(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
            hint="add --memory",
        )
    if total and total < memory_bytes:
        raise InvalidOption("Minimum memoryswap limit should be larger than memory limit, see usage")
    return total


def parse_cpuset(text: str) -> str:
    """`--cpuset-cpus 0-2,4`, as typed. Raises InvalidOption."""
    if text and not _CPUSET.match(text):
        raise InvalidOption(f"Invalid value {text} for cpuset cpus.")
    return text


def parse_ipc(text: str) -> str:
    """`--ipc host`, `private` or `none`; empty for the default. Raises InvalidOption."""
    if text in ("", "private", "host", "none"):
        return text or "private"
    hint = "use --ipc private, host or none"
    kind, colon, _ = text.partition(":")
    if text == "shareable" or (kind == "container" and colon):
        raise InvalidOption(f"--ipc {text} is not supported: containers do not share theirs", hint=hint)
    raise InvalidOption(f"--ipc: invalid IPC mode: {text}", hint=hint)


def parse_log_driver(text: str) -> str:
    """`json-file` or `none`. Raises InvalidOption."""
    if text in ("json-file", "none"):
        return text
    raise InvalidOption(
        f"logger: no log driver named '{text}' is registered", hint="use --log-driver json-file or none"
    )


def parse_detach_keys(text: str) -> bytes:
    """`--detach-keys ctrl-x,q`: the bytes that a terminal sends for them. Raises InvalidOption."""
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif len(key) == 6 and key.startswith("ctrl-") and key[5].lower() in _CTRL:
            keys.append(ord(key[5].upper()) & 0x1F)
        else:
            raise InvalidOption(f"Invalid detach keys ({text}): Unknown character: '{key}'")
    return bytes(keys)


def parse_env(items: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """`NAME=value`; a bare `NAME` takes the caller's value, or goes. Raises InvalidOption for an empty
    name."""
    result = []
    for item in items:
        name, equals, _ = item.partition("=")
        if not name:
            raise InvalidOption(f"invalid environment variable: {item}")
        if equals:
            result.append(item)
        elif name in environ:
            result.append(f"{name}={environ[name]}")
    return result


def parse_env_file(path: Path) -> list[str]:
    """One `NAME=value` or `NAME` a line; empty lines and those that begin with `#` are skipped."""
    lines = path.read_text().splitlines()
    return [line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def parse_labels(items: Sequence[str]) -> dict[str, str]:
    """`NAME=value` or `NAME`."""
    return {name: value for name, _, value in (item.partition("=") for item in items)}


def parse_ulimit(text: str) -> tuple[str, int, int]:
    """`nofile=1024[:2048]`. Raises InvalidOption."""
    name, equals, value = text.partition("=")
    soft, _, hard = value.partition(":")
    try:
        low = int(soft)
        high = int(hard) if hard else low
    except ValueError:
        equals = ""
    if not equals or not name.isalpha():
        raise InvalidOption(f"invalid ulimit argument: {text}")
    if high != -1 and low > high:
        raise InvalidOption(f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    return name.lower(), low, high


SIGNALS = {
    name: number
    for number, name in enumerate(
        [
            "HUP",
            "INT",
            "QUIT",
            "ILL",
            "TRAP",
            "ABRT",
            "BUS",
            "FPE",
            "KILL",
            "USR1",
            "SEGV",
            "USR2",
            "PIPE",
            "ALRM",
            "TERM",
            "STKFLT",
            "CHLD",
            "CONT",
            "STOP",
            "TSTP",
            "TTIN",
            "TTOU",
            "URG",
            "XCPU",
            "XFSZ",
            "VTALRM",
            "PROF",
            "WINCH",
            "IO",
            "PWR",
            "SYS",
        ],
        start=1,
    )
}


def parse_signal(text: str) -> int:
    """`9`, `KILL`, `SIGKILL`, `RTMIN+3`. Raises InvalidOption."""
    name = text.upper().removeprefix("SIG")
    if name.isdigit():
        number = int(name)
        if 1 <= number <= 64:
            return number
    elif name in SIGNALS:
        return SIGNALS[name]
    elif name.startswith("RTMIN"):
        rest = name.removeprefix("RTMIN").removeprefix("+")
        if not rest or rest.isdigit():
            return 34 + int(rest or 0)
    raise InvalidOption(f"Invalid signal: {text}")


def parse_device(text: str) -> str:
    """`/dev/x[:/dev/y[:rwm]]`, as typed. Raises InvalidOption."""
    parts = text.split(":")
    if len(parts) > 3 or not all(
        part.startswith("/") for part in parts[:2] if part != parts[-1] or "/" in part
    ):
        raise InvalidOption(f"invalid device specification: {text}")
    return text
