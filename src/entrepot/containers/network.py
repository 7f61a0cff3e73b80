"""A container's network in user mode: a program that hands the container's traffic to the host's own sockets.

`pasta` (Debian's passt) or `slirp4netns`. Either joins the network namespace of a container that was created
and not yet started, gives it the address 10.0.2.100, and opens the published ports on the host. No root,
bridge or firewall rule is needed. The host's own loopback is out of reach from inside, as in docker.

The program's process is written down in `network.json` before the container starts, so whoever finds the
container without a monitor can end it, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from entrepot.containers.errors import InvalidOption, NoNetwork, RuntimeFailed
from entrepot.containers.processes import process_start
from entrepot.containers.records import Container, PortBinding
from entrepot.files import replace_file

PROGRAMS = ("pasta", "slirp4netns")
ADDRESS = "10.0.2.100"
GATEWAY = "10.0.2.2"
RESOLVER = "10.0.2.3"
"""Answers with what the host's first resolver says, also where that one is on the host's loopback."""

INSTALL = "install passt (on Debian: apt-get install passt) or slirp4netns"
_READY_S = 20.0
_TUN = Path("/dev/net/tun")
_OWN_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin")


class Choice(Struct, frozen=True):
    """Which network a container gets."""

    network: str
    """`none`, `host`, `pasta` or `slirp4netns`."""
    warning: str = ""
    """Why it is none though nobody asked for that."""


class Helper(Struct, frozen=True):
    """The process that is a container's network."""

    pid: int
    start: int
    """In clock ticks since boot: tells it from a later process with its number."""


def choose_network(
    wanted: str, *, publishing: bool, environ: Mapping[str, str] = os.environ, tun: Path = _TUN
) -> Choice:
    """What `--network` means on this machine; empty, `default`: the first program that can work.

    Raises NoNetwork when the one that was asked for is not installed, or there is none to publish ports with.
    """
    if wanted in ("none", "host"):
        return Choice(wanted)
    if wanted in PROGRAMS:
        _program(wanted, environ)
        return Choice(wanted)
    found = [name for name in PROGRAMS if _which(name, environ)]
    problem = "neither pasta nor slirp4netns is installed"
    hint = INSTALL
    if found:
        if os.access(tun, os.R_OK | os.W_OK):
            return Choice(found[0])
        problem = f"{tun} cannot be opened by this user, which {found[0]} needs"
        hint = f"load the tun module and let the user read and write {tun}"
    if publishing:
        raise NoNetwork(f"ports cannot be published: {problem}", hint=f"{hint}, or use --network host")
    return Choice("none", f"the container has no network: {problem}; {hint}, or use --network host or none")


def start_network(container: Container, pid: int, ports: Sequence[PortBinding], directory: Path) -> None:
    """Give the created container whose process is `pid` its network, ports open. Written down in `directory`.

    Raises RuntimeFailed, and nothing of it is left running then.
    """
    name = container.host.network
    path = _program(name, os.environ)
    log = directory / "network.log"
    begin = _start_pasta if name == "pasta" else _start_slirp
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        helper = begin(path, pid, namespace, ports, log)
    except OSError as error:
        raise RuntimeFailed(f"the network program {path} could not be started: {error.strerror}") from error
    finally:
        os.close(namespace)
    if helper == 0:
        said = _said(log)
        raise RuntimeFailed(
            f"{name} could not make the container's network: {said}",
            hint="choose another with --network pasta, slirp4netns, host or none",
        )
    record = msgspec.json.encode(Helper(helper, process_start(helper)))
    try:
        replace_file(directory / "network.json", record, tmp=directory, durable=False, mode=0o600)
    except OSError as error:  # nobody could end what is not written down
        _end(helper)
        raise RuntimeFailed(f"the container's network cannot be recorded: {error.strerror}") from error


def end_network(directory: Path) -> None:
    """End the process that is the network of the container in `directory`, whoever started it."""
    path = directory / "network.json"
    try:
        helper = msgspec.json.decode(path.read_bytes(), type=Helper)
    except (OSError, msgspec.MsgspecError):
        return
    if helper.start and process_start(helper.pid) == helper.start:
        _end(helper.pid)
        deadline = time.monotonic() + 10
        while process_start(helper.pid) == helper.start and time.monotonic() < deadline:
            time.sleep(0.005)
    path.unlink(missing_ok=True)


def pasta_arguments(ports: Sequence[PortBinding]) -> list[str]:
    """Its flags. Nothing is forwarded but what was published, in no direction."""
    words = ["--config-net", "--quiet", "--no-map-gw", "--netns-only", "-a", ADDRESS, "-n", "24",
             "-g", GATEWAY, "--dns-forward", RESOLVER, "-T", "none", "-U", "none"]  # fmt: skip
    for flag, protocol in (("-t", "tcp"), ("-u", "udp")):
        specs = [
            f"{f'{port.host_ip}/' if port.host_ip else ''}{port.host_port}:{port.container_port}"
            for port in ports
            if port.protocol == protocol
        ]
        for spec in specs or ["none"]:
            words += [flag, spec]
    return words


def _start_pasta(path: str, _: int, namespace: int, ports: Sequence[PortBinding], log: Path) -> int:
    pid_file = log.with_suffix(".pid")
    pid_file.unlink(missing_ok=True)
    argv = [path, *pasta_arguments(ports), "--pid", str(pid_file)]
    if os.geteuid() == 0:
        argv += ["--runas", "0"]  # as nobody it may not enter a namespace that root made
    # It gives up the right to look into /proc/<pid>/ns and closes what it inherits but the standard streams.
    argv += ["--netns", "/proc/self/fd/0"]
    with log.open("wb") as said:
        # It goes into the background once everything is in place.
        try:
            done = subprocess.run(
                argv, stdin=namespace, stdout=said, stderr=said, check=False, timeout=_READY_S
            )
        except subprocess.TimeoutExpired:
            return 0
    with contextlib.suppress(OSError, ValueError):
        return int(pid_file.read_text()) if done.returncode == 0 else 0
    return 0


def _start_slirp(path: str, pid: int, _: int, ports: Sequence[PortBinding], log: Path) -> int:
    import tempfile

    ready, theirs = os.pipe()
    # A socket's path is at most 107 bytes long, so it cannot be in the store.
    with tempfile.TemporaryDirectory(prefix="entrepot-") as folder, log.open("wb") as said:
        api = f"{folder}/api"
        argv = [path, "--configure", "--mtu=65520", "--disable-host-loopback", f"--api-socket={api}",
                f"--ready-fd={theirs}", str(pid), "tap0"]  # fmt: skip
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=[theirs]
            )
        finally:
            os.close(theirs)
        with open(ready, "rb", buffering=0) as told:  # noqa: PTH123 - a descriptor
            if not told.read(1):
                process.wait()
                return 0
        try:
            for port in ports:
                _slirp_publishes(api, port)
        except BaseException:
            _end(process.pid)
            raise
        process.returncode = 0  # whoever ends the container collects it
        return process.pid


def _slirp_publishes(api: str, port: PortBinding) -> None:
    request = {"proto": port.protocol, "host_addr": port.host_ip or "0.0.0.0", "host_port": port.host_port,  # noqa: S104 - all addresses, as docker
               "guest_addr": ADDRESS, "guest_port": port.container_port}  # fmt: skip
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_READY_S)
        sock.connect(api)
        sock.sendall(msgspec.json.encode({"execute": "add_hostfwd", "arguments": request}))
        sock.shutdown(socket.SHUT_WR)
        answer = sock.recv(1 << 16)
    if b'"error"' in answer:
        raise _not_bound(port, "slirp4netns could not open it")


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # another process's child
        os.waitpid(pid, 0)


def _said(log: Path) -> str:
    """The last thing it complained of; it also tells what it does, and that it has no syslog."""
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        lines = [line for line in lines if line and "syslog" not in line]
        if lines:
            return lines[-1]
    return "it did not say why"


# Ports of the host.


def bound_ports(container: Container) -> list[PortBinding]:
    """What will be published, with free ports for those nobody named. Raises RuntimeFailed, InvalidOption."""
    asked = list(container.host.ports)
    if container.host.publish_all:
        named = {binding.name for binding in asked}
        for name in container.process.exposed_ports:
            number, _, protocol = name.partition("/")
            if name not in named and protocol in ("tcp", "udp"):
                asked.append(PortBinding(int(number), protocol))
    return [_bound(binding, container.host.network) for binding in asked]


def _bound(binding: PortBinding, network: str) -> PortBinding:
    family = socket.AF_INET6 if ":" in binding.host_ip else socket.AF_INET
    if family == socket.AF_INET6 and network == "slirp4netns":
        raise InvalidOption(
            f"slirp4netns publishes no ports on IPv6 addresses: {binding.host_ip}", hint="use --network pasta"
        )
    kind = socket.SOCK_DGRAM if binding.protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((binding.host_ip, binding.host_port))
        except OSError as error:
            raise _not_bound(binding, os.strerror(error.errno or 0).lower(), error.errno or 0) from error
        return msgspec.structs.replace(binding, host_port=probe.getsockname()[1])


def _not_bound(binding: PortBinding, why: str, code: int = 0) -> RuntimeFailed:
    host = f"[{binding.host_ip}]" if ":" in binding.host_ip else binding.host_ip or "0.0.0.0"  # noqa: S104 - what docker prints
    hint = "publish another port, or end what listens there"
    if code == errno.EACCES:
        hint = "ports below 1024 need root: publish a higher one"
    elif code == errno.EADDRNOTAVAIL:
        hint = "publish on an address that this machine has"
    return RuntimeFailed(
        "driver failed programming external connectivity: "
        f"listen {binding.protocol} {host}:{binding.host_port}: bind: {why}",
        hint=hint,
    )


def _program(name: str, environ: Mapping[str, str]) -> str:
    path = _which(name, environ)
    if path is None:
        package = "passt" if name == "pasta" else name
        raise NoNetwork(
            f"network {name} is not installed", hint=f"install it (on Debian: apt-get install {package})"
        )
    return path


def _which(name: str, environ: Mapping[str, str]) -> str | None:
    folders = [*environ.get("PATH", os.defpath).split(os.pathsep), *_OWN_PATH]
    return shutil.which(name, path=os.pathsep.join(folders))
