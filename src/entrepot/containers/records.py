"""What is known of containers, in files that any process may read at any time.

<store>/entrepot/containers/
  lock                    flock: exclusive to add, rename and remove
  <id>/
    record.json           what was asked for; changes only by rename
    state.json            how it is doing; replaced whole by the monitor and by whoever cleans up after it
    monitor.lock          flocked by the monitor as long as it lives: a running container whose lock is free
    is an orphan
    upper/ work/          the container's own layer, and the overlay mount's workplace
    merged/               where the file system is mounted while something needs it
    bundle/               config.json for the OCI runtime
    network.json          the process that is its network, while there is one
    files/                hostname, hosts and resolv.conf, mounted over the container's own
    log                   output, one JSON object a line, as docker's json-file driver writes it
  .new-<id>/              being made; flocked by its maker
  .old-<random>/          being removed

A directory appears under its ID by one rename, so a container is there whole or not at all.

States: created → running → exited → running …; `docs/lifecycle.md` draws them with the commands between.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from entrepot.containers.errors import (
    AmbiguousContainer,
    ContainerNameTaken,
    ContainerRunning,
    NoSuchContainer,
)
from entrepot.containers.names import made_up_name
from entrepot.files import (
    close_to_others,
    locked,
    make_private,
    new_name,
    replace_file,
    try_lock,
    write_private,
)
from entrepot.images.snapshots import remove_path
from entrepot.images.store import ImageStore


class Mount(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something of the host's, or a volume, seen inside of the container."""

    source: str
    target: str
    kind: str = "bind"
    """`bind`, `volume` or `tmpfs`."""
    name: str = ""
    """Of a volume."""
    read_only: bool = False
    propagation: str = "rprivate"
    options: str = ""
    """Of a tmpfs."""
    anonymous: bool = False
    """A volume nobody named: it goes with `rm -v`."""


class PortBinding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port of the container that a port of the host leads to."""

    container_port: int
    protocol: str = "tcp"
    """`tcp` or `udp`."""
    host_ip: str = ""
    """Empty: all addresses of the host."""
    host_port: int = 0
    """0 in what was asked for: any free one, chosen at each start. Never 0 in a running container's state."""

    @property
    def name(self) -> str:
        """docker's name for the container's side, as `80/tcp`."""
        return f"{self.container_port}/{self.protocol}"


class ProcessConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """What runs, after the image's and the user's wishes were merged. `commit` makes an image config of
    it."""

    hostname: str = ""
    user: str = ""
    env: list[str] = []
    cmd: list[str] | None = None
    entrypoint: list[str] | None = None
    working_dir: str = ""
    labels: dict[str, str] = {}
    exposed_ports: list[str] = []
    volumes: list[str] = []
    stop_signal: str = ""
    stop_timeout_s: int | None = None
    tty: bool = False
    open_stdin: bool = False
    attach: bool = False
    shell: list[str] | None = None
    healthcheck: dict[str, Any] | None = None
    onbuild: list[str] | None = None


class HostConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much of the host the container sees."""

    network: str = "none"
    """`none`, `host`, or the program that is the container's network: `pasta`, `slirp4netns`."""
    ports: list[PortBinding] = []
    """As asked for; `State.ports` has what is answered while it runs."""
    publish_all: bool = False
    dns: list[str] = []
    dns_search: list[str] = []
    mounts: list[Mount] = []
    auto_remove: bool = False
    restart: str = "no"
    """`no`, `always`, `unless-stopped` or `on-failure`."""
    restart_retries: int = 0
    """Of `on-failure`; 0 for no limit."""
    privileged: bool = False
    read_only: bool = False
    cap_add: list[str] = []
    cap_drop: list[str] = []
    no_new_privileges: bool = False
    seccomp: str = "default"
    """`default`, `unconfined`, or a profile's JSON in the OCI runtime's form."""
    unmasked: bool = False
    init: bool = False
    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    """Memory and swap together; -1 for no limit, 0 for the kernel's own."""
    cpus: float = 0.0
    cpuset_cpus: str = ""
    pids_limit: int = 0
    shm_bytes: int = 64 << 20
    ipc: str = "private"
    """Shared memory and message queues: `private`, `host`, or `none`, which is private without /dev/shm."""
    ulimits: list[tuple[str, int, int]] = []
    extra_hosts: list[str] = []
    group_add: list[str] = []
    devices: list[str] = []
    sysctls: dict[str, str] = {}
    log_driver: str = "json-file"
    """`json-file` or `none`."""
    volumes_from: list[str] = []


class Container(msgspec.Struct, frozen=True):
    """What was asked for when the container was created."""

    id: str
    name: str
    created: datetime
    image: str
    """As it was typed."""
    image_id: str
    diff_ids: list[str]
    process: ProcessConfig
    host: HostConfig
    rootfs: str = "overlay"
    """`overlay`, or `copy` where the kernel would not mount one."""

    @property
    def argv(self) -> list[str]:
        """Entrypoint and command together."""
        return [*(self.process.entrypoint or []), *(self.process.cmd or [])]


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a container is doing."""

    status: str = "created"
    """`created`, `running`, `restarting` (between an end and the next start) or `exited`."""
    restarts: int = 0
    """How often it was started again since somebody started it."""
    pid: int = 0
    pid_start: int = 0
    """The process's start in clock ticks since boot: tells it from a later one with its number."""
    exit_code: int = 0
    started: datetime | None = None
    finished: datetime | None = None
    error: str = ""
    runtime: str = ""
    monitor_pid: int = 0
    ports: list[PortBinding] = []
    """Where the host answers for the container, while it runs."""
    paused: bool = False
    oom_killed: bool = False

    @property
    def is_up(self) -> bool:
        """Running, or about to again: it has a monitor, and is in use."""
        return self.status in ("running", "restarting")


class Containers:
    """The containers of a store. Opening costs nothing; safe with many processes at once."""

    def __init__(self, store: ImageStore) -> None:
        self.store = store
        self.root = store.paths.own / "containers"

    def directory(self, container: Container | str) -> Path:
        """Everything of one container."""
        return self.root / (container if isinstance(container, str) else container.id)

    def list(self) -> Sequence[Container]:
        """All of them, the newest first."""
        self.store.keep_private()
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in self.root.iterdir():
                if not path.name.startswith(".") and len(path.name) == 64:
                    container = self._read(path)
                    if container is not None:
                        found.append(container)
        return sorted(found, key=lambda container: container.created, reverse=True)

    def find(self, name: str) -> Container:
        """By name, ID or the beginning of an ID. Raises NoSuchContainer, AmbiguousContainer."""
        self.store.keep_private()
        wanted = name.removeprefix("/")
        if len(wanted) == 64:
            container = self._read(self.root / wanted) if "/" not in wanted else None
            if container is not None:
                return container
        everything = self.list()
        for container in everything:
            if container.name == wanted:
                return container
        fitting = [c for c in everything if wanted and c.id.startswith(wanted)]
        if len(fitting) > 1:
            raise AmbiguousContainer(name)
        if not fitting:
            raise NoSuchContainer(name)
        return fitting[0]

    def state(self, container: Container) -> State:
        """How it is doing, as last written; `lifecycle.settled_state` also asks whether that can be."""
        try:
            return msgspec.json.decode((self.directory(container) / "state.json").read_bytes(), type=State)
        except FileNotFoundError:
            return State()

    def write_state(self, container: Container, state: State) -> None:
        """Replace the state. The monitor does, or whoever holds its lock. On a full disk, too."""
        path = self.directory(container) / "state.json"
        data = msgspec.json.encode(state)
        try:
            replace_file(path, data, tmp=self.store.paths.tmp, durable=False, mode=0o600)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # The file has had a block since the container was made: written over, it needs no other.
            with path.open("r+b") as file:
                file.write(data)
                file.truncate()

    # Adding, renaming, removing.

    @contextlib.contextmanager
    def new(self, container_id: str) -> Iterator[Path]:
        """A directory to make a container in; `add` gives it its name, otherwise it is removed again."""
        path = self.root / f".new-{container_id}"
        with self._locked():  # `clean` takes a directory that nobody has locked for a leftover
            path.mkdir(mode=0o700)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            remove_path(path)
            os.close(fd)

    def prepare(self) -> None:
        """Make the directories."""
        self.store.prepare()
        make_private(self.root)

    def add(self, container: Container, new: Path) -> Container:
        """Make a prepared directory a container; an empty name is made up. Raises ContainerNameTaken."""
        with self._locked():
            taken = {other.name: other.id for other in self.list()}
            if container.name in taken:
                raise ContainerNameTaken(container.name, taken[container.name])
            if not container.name:
                container = msgspec.structs.replace(container, name=_free_name(taken))
            write_private(new / "record.json", msgspec.json.encode(container))
            write_private(new / "state.json", msgspec.json.encode(State(status="created")))
            new.rename(self.directory(container))
        return container

    def rename(self, container: Container, name: str) -> Container:
        """Give another name. Raises ContainerNameTaken."""
        with self._locked():
            for other in self.list():
                if other.name == name and other.id != container.id:
                    raise ContainerNameTaken(name, other.id)
            renamed = msgspec.structs.replace(container, name=name)
            replace_file(
                self.directory(container) / "record.json",
                msgspec.json.encode(renamed),
                tmp=self.store.paths.tmp,
                durable=False,
                mode=0o600,
            )
        return renamed

    def remove(self, container: Container) -> None:
        """Remove a container that does not run and whose file system is not mounted.

        Raises NoSuchContainer.
        """
        old = self.root / f".old-{new_name()}"
        with self._locked():
            try:
                self.directory(container).rename(old)
            except FileNotFoundError as error:
                raise NoSuchContainer(container.name) from error
        remove_path(old)

    def clean(self, before_removal: Callable[[Path], None]) -> None:
        """Remove what killed processes left: half-made and half-removed containers."""
        if not self._leftovers():
            return
        with self._locked():
            taken = {path: fd for path in self._leftovers() if (fd := _lock_directory(path)) is not None}
        try:
            for path in taken:
                before_removal(path)
                remove_path(path)
        finally:
            for fd in taken.values():
                os.close(fd)

    def _leftovers(self) -> Sequence[Path]:
        try:
            return [path for path in self.root.iterdir() if path.name.startswith((".new-", ".old-"))]
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.prepare()
        with locked(self.root / "lock", exclusive=True):
            yield

    def _read(self, path: Path) -> Container | None:
        if close_to_others(path):  # so once for each that was left open
            _close_files(path)
        try:
            return msgspec.json.decode((path / "record.json").read_bytes(), type=Container)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
            return None

    # The monitor's lock.

    @contextlib.contextmanager
    def alone(self, container: Container) -> Iterator[None]:
        """Hold the monitor's lock. Raises ContainerRunning when somebody has it, NoSuchContainer when it is
        gone."""
        try:
            fd = self.try_monitor_lock(container)
        except FileNotFoundError as error:
            raise NoSuchContainer(container.name) from error
        if fd is None:
            raise ContainerRunning(
                f"container {container.name} is being started or removed by another command: try again later"
            )
        try:
            yield
        finally:
            os.close(fd)

    def try_monitor_lock(self, container: Container) -> int | None:
        """A descriptor that holds the monitor's lock until it is closed, or None when a monitor lives."""
        fd = os.open(self.directory(container) / "monitor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if try_lock(fd):
            return fd
        os.close(fd)
        return None


def _close_files(path: Path) -> None:
    """Take others' rights to what a container's folder holds beside its file system."""
    with contextlib.suppress(OSError):
        for folder in (path, path / "bundle"):
            for file in folder.iterdir():
                if file.is_file():
                    close_to_others(file)


def _lock_directory(path: Path) -> int | None:
    """A descriptor that holds its lock, or None when somebody has that or it is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    if try_lock(fd):
        return fd
    os.close(fd)
    return None


def _free_name(taken: dict[str, str]) -> str:
    for _ in range(20):
        name = made_up_name()
        if name not in taken:
            return name
    return f"{name}_{new_name()[:8]}"


def utc_now() -> datetime:
    """Now, as records keep it."""
    return datetime.now(UTC)
