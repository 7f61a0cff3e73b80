"""What happens to containers: made, started, stopped, removed. The states between are drawn in
`docs/lifecycle.md`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from entrepot.containers.errors import (
    ContainerNotRunning,
    ContainerRunning,
    InvalidOption,
    NoCommand,
    NoSuchUser,
    RuntimeFailed,
)
from entrepot.containers.etc import write_files, write_resolver
from entrepot.containers.frames import FrameKind, FrameParser, received_frames
from entrepot.containers.host_config import host_config, host_devices, init_program
from entrepot.containers.monitor import Start, spawn_monitor
from entrepot.containers.names import check_name, new_id
from entrepot.containers.network import choose_network, end_network
from entrepot.containers.options import CreateOptions, parse_signal
from entrepot.containers.ports import parse_expose
from entrepot.containers.processes import process_start
from entrepot.containers.records import (
    Container,
    Containers,
    Mount,
    ProcessConfig,
    State,
    utc_now,
)
from entrepot.containers.restart import ask_to_stop, forget_stop
from entrepot.containers.rootfs import RootFs, ensure_directory, make_rootfs, rootfs_of
from entrepot.containers.rootless import may_set_groups
from entrepot.containers.runtime import Runtime, find_runtime, has_cgroup_v2, host_capabilities
from entrepot.containers.spec import Surroundings, build_spec, command_of
from entrepot.containers.users import find_user
from entrepot.containers.volumes import make_volume, remove_anonymous_volumes
from entrepot.files import write_private
from entrepot.images.image import Image
from entrepot.images.snapshots import Snapshots
from entrepot.layers.ownership import ROOT
from entrepot.layers.union import Union
from entrepot.oci.imageconfig import ImageConfig

DEFAULT_STOP_TIMEOUT_S = 10
_KILLED = 128 + signal.SIGKILL


class Lifecycle:
    """Everything that changes containers of one store."""

    def __init__(self, containers: Containers, *, runtime: str | None = None) -> None:
        self.containers = containers
        self.snapshots = Snapshots(containers.store)
        self._runtime_name = runtime

    # Creating.

    def create(
        self, image: Image, image_name: str, command: Sequence[str], options: CreateOptions
    ) -> Container:
        """A container from an image that is in the store, its layers unpacked if need be.

        Raises NoCommand, ContainerNameTaken, InvalidContainerName, InvalidOption, and what unpacking raises.
        """
        name = check_name(options.name) if options.name else ""
        config = self.containers.store.config(image)
        container_id = new_id()
        process = merged_process(config, command, options, container_id)
        network = choose_network(
            options.network, publishing=bool(options.ports) or options.publish_all
        ).network
        if not (process.entrypoint or process.cmd):
            raise NoCommand
        self.clean()
        with self.snapshots.in_use(), self.containers.new(container_id) as directory:
            layers = self.snapshots.ensure(image)
            marker = self.snapshots.root / "overlay-works"
            rootfs = make_rootfs(directory, layers, self.snapshots.privileges, known_to_work=marker)
            mounts = self._mounts(options, process, layers)
            if process.working_dir and process.working_dir != "/":
                ensure_directory(rootfs, process.working_dir)
            (directory / "bundle").mkdir(mode=0o700)
            container = Container(
                id=container_id,
                name=name,
                created=utc_now(),
                image=image_name,
                image_id=str(image.id),
                diff_ids=[str(diff_id) for diff_id in image.diff_ids],
                process=process,
                host=host_config(options, mounts, network),
                rootfs=rootfs.kind,
            )
            command_of(container)
            write_files(directory / "files", container)
            return self.containers.add(container, directory)

    def _mounts(self, options: CreateOptions, process: ProcessConfig, layers: Sequence[Path]) -> list[Mount]:
        mounts = list(options.mounts)
        covered = {mount.target for mount in mounts}
        for text in options.volumes_from:
            mounts += [mount for mount in self._mounts_of(text) if mount.target not in covered]
            covered = {mount.target for mount in mounts}
        mounts += [
            Mount(source="", target=target, kind="volume", anonymous=True)
            for target in process.volumes
            if target.startswith("/") and target not in covered
        ]
        result = []
        with Union(layers) as image:
            for mount in mounts:
                if mount.kind == "volume":
                    named = msgspec.structs.replace(mount, name=mount.name or secrets.token_hex(32))
                    result.append(make_volume(self.containers.store, named, image))
                    continue
                if mount.kind == "bind" and not Path(mount.source).exists():
                    Path(mount.source).mkdir(parents=True)  # as docker: -v makes a directory
                result.append(mount)
        return result

    def _mounts_of(self, text: str) -> list[Mount]:
        """`--volumes-from NAME[:ro|rw]`: another container's. Raises NoSuchContainer, InvalidOption."""
        name, colon, mode = text.partition(":")
        if colon and mode not in ("ro", "rw"):
            raise InvalidOption(f"invalid mode: {mode}")
        found = [mount for mount in self.containers.find(name).host.mounts if mount.kind != "tmpfs"]
        if mode == "ro":
            return [msgspec.structs.replace(mount, read_only=True) for mount in found]
        return found

    # Starting.

    def start(self, container: Container, *, stdin: bool = False) -> tuple[int, socket.socket]:
        """Start a container that does not run; its process and a socket on which its output and exit code
        come.

        Close the socket to let it run by itself. Raises ContainerRunning, NoRuntime, RuntimeFailed,
        MountFailed.
        """
        self.settled_state(container)
        lock = self.containers.try_monitor_lock(container)
        if lock is None:
            raise ContainerRunning(f"container {container.id[:12]} is already running")
        try:
            runtime = find_runtime(self._runtime_name)
            end_network(self.containers.directory(container))  # of a start that was killed
            forget_stop(self.containers.directory(container))
            write_resolver(self.containers.directory(container) / "files", container)
            self._write_bundle(container, runtime)
            ours, theirs = socket.socketpair()
            with theirs:
                start = Start(self.containers.store.root.absolute(), container.id, runtime, stdin)
                spawn_monitor(start, lock, theirs)
        finally:
            os.close(lock)
        try:
            return _answer(ours), ours
        except BaseException:
            ours.close()
            raise

    def _write_bundle(self, container: Container, runtime: Runtime) -> None:
        directory = self.containers.directory(container)
        rootfs = self.rootfs(container)
        with rootfs.view() as tree:
            user = find_user(container.process.user, tree, container.host.group_add)
        if runtime.rootless:
            check_mapped(user.uid, user.gid)
        spec = build_spec(
            container,
            user,
            Surroundings(
                rootfs=str(rootfs.path.absolute()),
                files=str((directory / "files").absolute()),
                rootless=runtime.rootless,
                cgroup_v2=has_cgroup_v2(),
                capabilities=host_capabilities(),
                host_devices=host_devices(container.host),
                groups=may_set_groups(),
                throttling=sorted(
                    map(str, Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle"))
                ),
                init_path=init_program() if container.host.init else None,
            ),
        )
        write_private(directory / "bundle" / "config.json", msgspec.json.encode(spec))

    def rootfs(self, container: Container) -> RootFs:
        """The container's files."""
        return rootfs_of(self.containers, container, self.snapshots)

    # Looking.

    def settled_state(self, container: Container) -> State:
        """The state as it is. An orphan, running by its state with no monitor, is ended and cleaned up
        first."""
        state = self.containers.state(container)
        if not state.is_up:
            return state
        try:
            lock = self.containers.try_monitor_lock(container)
        except FileNotFoundError:
            return state
        if lock is None:
            return state
        try:
            state = self.containers.state(container)
            if state.is_up:
                state = self._end_orphan(container, state)
        finally:
            os.close(lock)
        if container.host.auto_remove:
            with contextlib.suppress(Exception):
                self._remove_files(container, volumes=True)
        return state

    def _end_orphan(self, container: Container, state: State) -> State:
        if state.pid and process_start(state.pid) == state.pid_start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)
            _wait_gone(state.pid, state.pid_start)
        runtime = (
            Runtime(state.runtime, os.geteuid() != 0) if state.runtime else find_runtime(self._runtime_name)
        )
        end_network(self.containers.directory(container))
        runtime.delete(self.containers.directory(container) / "runtime", container.id)
        self.rootfs(container).unmount()
        ended = State(
            status="exited",
            exit_code=_KILLED,
            started=state.started,
            finished=utc_now(),
            error="its monitor process was killed",
        )
        self.containers.write_state(container, ended)
        return ended

    def clean(self) -> None:
        """Remove what killed processes left behind."""

        def take_down(directory: Path) -> None:
            RootFs(directory, "overlay", (), self.snapshots.privileges).unmount()

        self.containers.clean(take_down)

    # Stopping.

    def send_signal(self, container: Container, signal_text: str = "KILL") -> None:
        """`kill`. Raises ContainerNotRunning, InvalidOption."""
        number = parse_signal(signal_text)
        state = self.settled_state(container)
        if state.status != "running":
            raise ContainerNotRunning(container.id)
        if number in (signal.SIGKILL, parse_signal(container.process.stop_signal or "TERM")):
            ask_to_stop(self.containers.directory(container))
        self._signal(state, number)

    def _signal(self, state: State, number: int) -> None:
        if state.pid and process_start(state.pid) == state.pid_start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.pid, number)

    def stop(
        self, container: Container, *, timeout_s: float | None = None, signal_text: str | None = None
    ) -> None:
        """Ask the process to end, and end it when it has not after `timeout_s` (negative: wait for ever)."""
        state = self.settled_state(container)
        if not state.is_up:
            return
        ask_to_stop(self.containers.directory(container))
        if timeout_s is None:
            own = container.process.stop_timeout_s
            timeout_s = float(DEFAULT_STOP_TIMEOUT_S if own is None else own)
        self._signal(state, parse_signal(signal_text or container.process.stop_signal or "TERM"))
        if self._wait_monitor(container, timeout_s):
            return
        self._signal(state, signal.SIGKILL)
        self._wait_monitor(container, None)

    def wait(self, container: Container) -> int:
        """The exit code, once the container does not run."""
        if self.settled_state(container).is_up:
            self._wait_monitor(container, None)
        with contextlib.suppress(FileNotFoundError):
            return self.settled_state(container).exit_code
        return 0

    def _wait_monitor(self, container: Container, timeout_s: float | None) -> bool:
        """Whether the monitor has ended within the time; its lock tells."""
        try:
            fd = os.open(self.containers.directory(container) / "monitor.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            if timeout_s is None or timeout_s < 0:
                fcntl.flock(fd, fcntl.LOCK_SH)
                return True
            deadline = time.monotonic() + timeout_s
            pause = 0.005
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        return False
                    time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
                    pause = min(pause * 1.5, 0.1)
                else:
                    return True
        finally:
            os.close(fd)

    # Removing, renaming.

    def remove(self, container: Container, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container; with `force`, a running one too. Raises ContainerRunning."""
        state = self.settled_state(container)
        if state.is_up:
            if not force:
                raise ContainerRunning(
                    f'cannot remove container "{container.name}": container is {state.status}: '
                    "stop the container before removing or force remove"
                )
            ask_to_stop(self.containers.directory(container))
            self._signal(state, signal.SIGKILL)
            self._wait_monitor(container, None)
            if not self.containers.directory(container).exists():
                return  # it was to be removed when it ended
        self._remove_files(container, volumes=volumes)

    def _remove_files(self, container: Container, *, volumes: bool) -> None:
        with self.containers.alone(container):
            end_network(self.containers.directory(container))
            self.rootfs(container).unmount()
            if volumes:
                remove_anonymous_volumes(self.containers, container)
            self.containers.remove(container)
        self.clean()

    def rename(self, container: Container, name: str) -> Container:
        """Raises InvalidContainerName, ContainerNameTaken, InvalidOption for the name it has."""
        if name.removeprefix("/") == container.name:
            raise InvalidOption("Renaming a container with the same name as its current name")
        return self.containers.rename(container, check_name(name))

    @contextlib.contextmanager
    def paused(self, container: Container, *, wanted: bool = True) -> Iterator[None]:
        """Keep a running container's processes still for the block, where the runtime can."""
        state = self.settled_state(container)
        runtime = Runtime(state.runtime) if state.runtime and state.status == "running" else None
        held = False
        folder = self.containers.directory(container) / "runtime"
        if wanted and runtime is not None and self.snapshots.privileges == ROOT:
            held = runtime.call(folder, "pause", container.id, check=False).returncode == 0
        try:
            yield
        finally:
            if held and runtime is not None:
                runtime.call(folder, "resume", container.id, check=False)


# Creating, pure.


def merged_process(
    config: ImageConfig, command: Sequence[str], options: CreateOptions, container_id: str
) -> ProcessConfig:
    """The image's settings with the user's over them, by docker's rules."""
    entrypoint, cmd = config.entrypoint, tuple(command) or None
    if options.entrypoint is not None:
        entrypoint = (options.entrypoint,) if options.entrypoint else None
    elif cmd is None:
        cmd = config.cmd
    typed = {item.partition("=")[0] for item in options.env}
    env = [*options.env, *(item for item in config.env if item.partition("=")[0] not in typed)]
    healthcheck = config.healthcheck
    return ProcessConfig(
        hostname=options.hostname or container_id[:12],
        user=config.user if options.user is None else options.user,
        env=env,
        cmd=list(cmd) if cmd is not None else None,
        entrypoint=list(entrypoint) if entrypoint is not None else None,
        working_dir=config.working_dir if options.working_dir is None else _absolute(options.working_dir),
        labels={**config.labels, **options.labels},
        exposed_ports=sorted(
            {
                *config.exposed_ports,
                *(port for text in options.expose for port in parse_expose(text)),
                *(binding.name for binding in options.ports),
            }
        ),
        volumes=list(config.volumes),
        stop_signal=options.stop_signal or config.stop_signal,
        stop_timeout_s=options.stop_timeout_s,
        tty=options.tty,
        open_stdin=options.interactive,
        attach=options.attach,
        shell=list(config.shell) if config.shell is not None else None,
        healthcheck=dict(healthcheck) if healthcheck is not None else None,
        onbuild=list(config.onbuild) or None,
    )


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidOption(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return path


def _answer(sock: socket.socket) -> int:
    """The started process's id. Raises RuntimeFailed."""
    # Byte by byte frames only: what follows the first one is for whoever attaches.
    head = _received(sock, 5)
    size = int.from_bytes(head[1:], "big")
    body = _received(sock, size)
    (kind, data), *_ = FrameParser().feed(head + body)
    if kind is FrameKind.STARTED:
        return int(data)
    failure = msgspec.json.decode(data, type=dict[str, Any])
    raise RuntimeFailed(
        str(failure["message"]), exit_code=int(failure["exit_code"]), hint=failure.get("hint") or None
    )


def _received(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise RuntimeFailed("the container's monitor process ended unexpectedly")
        data += more
    return data


def check_mapped(uid: int, gid: int) -> None:
    """Raises NoSuchUser for a user whom this user namespace does not have."""
    for kind, number in (("uid", uid), ("gid", gid)):
        rows = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text().splitlines()]
        if not any(int(first) <= number < int(first) + int(count) for first, _, count in rows):
            raise NoSuchUser(
                f"{kind} {number} does not exist for a container of this user: it is not mapped",
                hint="give the user ranges in /etc/subuid and /etc/subgid, or run as root in the container",
            )


def exit_code_from(sock: socket.socket) -> int:
    """Wait for the end of a started container without looking at its output."""
    for kind, data in received_frames(sock):
        if kind is FrameKind.EXITED:
            return int(data)
    return _KILLED


def _wait_gone(pid: int, start: int) -> None:
    deadline = time.monotonic() + 10
    while process_start(pid) == start and time.monotonic() < deadline:
        time.sleep(0.01)
