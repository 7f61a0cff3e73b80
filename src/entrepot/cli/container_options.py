"""What the commands about containers share: flags of `create` and `run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from entrepot.cli.invocation import Invocation
from entrepot.cli.invocation import container_store as container_store

if TYPE_CHECKING:
    from entrepot.containers.options import CreateOptions

F = TypeVar("F", bound=Callable[..., Any])


def complete_container(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names that a shell may offer."""
    from entrepot.containers.records import Containers
    from entrepot.images.store import ImageStore as Store

    root = ctx.find_root()
    try:
        store = Store(Invocation(store=root.params.get("store")).store_path)
        names = [container.name for container in Containers(store).list()]
    except Exception:  # noqa: BLE001 - a damaged store is no reason to disturb somebody who types
        return []
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


_FLAGS: tuple[Any, ...] = (
    click.option("--name", metavar="NAME", default="", help="Name of the container; made up when left out"),
    click.option("-e", "--env", "env", multiple=True, metavar="NAME=VALUE", help="Set a variable"),
    click.option("--env-file", multiple=True, metavar="FILE", help="Read variables from a file"),
    click.option("-w", "--workdir", metavar="DIR", help="Working directory in the container"),
    click.option("-u", "--user", metavar="NAME|UID[:GROUP|GID]", help="User, as the image knows it"),
    click.option("-v", "--volume", "volume", multiple=True, metavar="HOST:TARGET[:ro]",
                 help="Show a directory or volume in the container"),
    click.option("--mount", "mount", multiple=True, metavar="SPEC", help="type=…,source=…,target=…"),
    click.option("--volumes-from", multiple=True, metavar="CONTAINER[:ro]",
                 help="Show the volumes of another container"),
    click.option("--tmpfs", multiple=True, metavar="TARGET[:OPTIONS]", help="Mount a tmpfs"),
    click.option("--entrypoint", metavar="COMMAND", help="Replace the image's entry point"),
    click.option("--network", "--net", "network", metavar="NAME", default="default",
                 help="pasta, slirp4netns, host or none; the first one that is installed"),
    click.option("-p", "--publish", "publish", multiple=True, metavar="[[IP:]HOST:]PORT[/udp]",
                 help="Answer on a port of the host for one of the container"),
    click.option("-P", "--publish-all", is_flag=True,
                 help="Publish every noted port on a free one of the host"),
    click.option("--dns", multiple=True, metavar="ADDRESS", help="Name server instead of the host's"),
    click.option("--dns-search", multiple=True, metavar="DOMAIN",
                 help="Where names are looked up; . for nowhere"),
    click.option("-i", "--interactive", is_flag=True, help="Keep standard input open"),
    click.option("-t", "--tty", is_flag=True, help="Give the process a terminal"),
    click.option("--rm", "auto_remove", is_flag=True, help="Remove the container when it ends"),
    click.option("--restart", metavar="POLICY", default="no", show_default=True,
                 help="no, on-failure[:N], always or unless-stopped"),
    click.option("-h", "--hostname", metavar="NAME", default="", help="Host name in the container"),
    click.option("-l", "--label", "label", multiple=True, metavar="NAME=VALUE", help="Set a label"),
    click.option("--label-file", multiple=True, metavar="FILE", help="Read labels from a file"),
    click.option("--expose", multiple=True, metavar="PORT", help="Note a port"),
    click.option("--privileged", is_flag=True, help="Give all capabilities and devices"),
    click.option("--init", is_flag=True, help="Run the command below a small init process"),
    click.option("--read-only", is_flag=True, help="Mount the container's files read-only"),
    click.option("--cap-add", multiple=True, metavar="NAME", help="Add a capability, or ALL"),
    click.option("--cap-drop", multiple=True, metavar="NAME", help="Take away a capability, or ALL"),
    click.option("--security-opt", multiple=True, metavar="OPTION",
                 help="no-new-privileges, seccomp=unconfined|FILE, systempaths=unconfined"),
    click.option("-m", "--memory", metavar="BYTES", help="Most memory, as 512m or 2g"),
    click.option("--memory-swap", metavar="BYTES", help="Most memory and swap together; -1 for no limit"),
    click.option("--cpuset-cpus", metavar="LIST", default="", help="Processors to run on, as 0-2,4"),
    click.option("--cpus", type=float, default=0.0, metavar="N", help="Most processors, as 1.5"),
    click.option("--pids-limit", type=int, default=0, metavar="N", help="Most processes"),
    click.option("--shm-size", metavar="BYTES", help="Size of /dev/shm (64m)"),
    click.option("--ipc", metavar="MODE", default="private", show_default=True,
                 help="Shared memory: private, host or none"),
    click.option("--ulimit", multiple=True, metavar="NAME=SOFT[:HARD]", help="Resource limit"),
    click.option("--add-host", multiple=True, metavar="NAME:ADDRESS", help="Add a line to /etc/hosts"),
    click.option("--group-add", multiple=True, metavar="GROUP", help="Further group"),
    click.option("--device", multiple=True, metavar="PATH", help="Show a device of the host"),
    click.option("--sysctl", multiple=True, metavar="NAME=VALUE", help="Set a kernel parameter"),
    click.option("--stop-signal", metavar="SIGNAL", default="", help="Signal that `stop` sends"),
    click.option("--stop-timeout", type=int, metavar="SECONDS", help="How long `stop` waits"),
    click.option("--log-driver", metavar="none|json-file", default="json-file",
                 help="Whether output is kept for logs"),
    click.option("--platform", metavar="PLATFORM", help="os/arch[/variant], as in linux/arm64"),
    click.option("--pull", "pull", type=click.Choice(["missing", "always", "never"]), default="missing",
                 show_default=True, help="When to pull the image"),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing while pulling"),
    click.option("--cidfile", metavar="FILE", help="Write the container's ID to a file"),
    click.option("--disable-content-trust", is_flag=True, hidden=True, expose_value=False),
)  # fmt: skip


detach_keys_option = click.option(
    "--detach-keys", metavar="KEYS", default="ctrl-p,ctrl-q", help="Keys that leave it running, as ctrl-x,q"
)


class DockerCommand(click.Command):
    """Takes `--flag=true` and `--flag=false` for flags, as docker's command line does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        flags = {
            name: option for option in self.params if isinstance(option, click.Option) for name in option.opts
        }
        result: list[str] = []
        rest = list(args)
        while rest:
            word = rest.pop(0)
            name, equals, value = word.partition("=")
            option = flags.get(name)
            if word == "--" or (not word.startswith("-") and not ctx.allow_interspersed_args):
                return super().parse_args(ctx, [*result, word, *rest])
            if (
                option is not None
                and option.is_flag
                and equals
                and value.lower() in ("true", "1", "false", "0")
            ):
                if value.lower() in ("true", "1"):
                    result.append(name)
                elif option.secondary_opts:
                    result.append(option.secondary_opts[0])
                continue
            result.append(word)
            if option is not None and not option.is_flag and not equals and rest:
                result.append(rest.pop(0))
        return super().parse_args(ctx, result)


CONTEXT: dict[str, Any] = {"allow_interspersed_args": False, "help_option_names": ["--help"]}
"""Flags after the image belong to the command in the container, and `-h` is the host name, as in docker."""


def create_flags(function: F) -> F:
    """Every flag that `create` and `run` have in common."""
    for flag in reversed(_FLAGS):
        function = flag(function)
    return function


def read_options(flags: dict[str, Any], *, attach: bool = True) -> CreateOptions:
    """Flags to options. Raises InvalidOption."""
    from entrepot.containers import options as o
    from entrepot.containers.errors import InvalidOption
    from entrepot.containers.ports import parse_publish
    from entrepot.containers.restart import parse_restart

    try:
        env = [line for file in flags["env_file"] for line in o.parse_env_file(Path(file))]
        labels = [line for file in flags["label_file"] for line in o.parse_env_file(Path(file))]
    except OSError as error:
        raise InvalidOption(f"open {error.filename}: no such file or directory") from error
    mounts = [
        *(o.parse_volume(text) for text in flags["volume"]),
        *(o.parse_mount(text) for text in flags["mount"]),
        *(o.parse_tmpfs(text) for text in flags["tmpfs"]),
    ]
    shm = flags["shm_size"]
    restart = parse_restart(flags["restart"])
    if flags["auto_remove"] and restart[0] != "no":
        raise InvalidOption("conflicting options: cannot specify both --restart and --rm")
    memory = o.parse_size(flags["memory"]) if flags["memory"] else 0
    ports = [binding for text in flags["publish"] for binding in parse_publish(text)]
    return o.CreateOptions(
        name=flags["name"],
        hostname=flags["hostname"],
        user=flags["user"],
        env=o.parse_env([*env, *flags["env"]], os.environ),
        working_dir=flags["workdir"],
        entrypoint=flags["entrypoint"],
        labels=o.parse_labels([*labels, *flags["label"]]),
        expose=flags["expose"],
        mounts=mounts,
        tty=flags["tty"],
        interactive=flags["interactive"],
        attach=attach,
        network=_network(o.parse_network(flags["network"]), publishing=bool(ports) or flags["publish_all"]),
        ports=ports,
        publish_all=flags["publish_all"],
        dns=[o.parse_dns(text) for text in flags["dns"]],
        dns_search=flags["dns_search"],
        auto_remove=flags["auto_remove"],
        restart=restart,
        privileged=flags["privileged"],
        read_only=flags["read_only"],
        init=flags["init"],
        cap_add=flags["cap_add"],
        cap_drop=flags["cap_drop"],
        security=flags["security_opt"],
        memory_bytes=memory,
        memory_swap_bytes=o.parse_memory_swap(flags["memory_swap"], memory) if flags["memory_swap"] else 0,
        cpuset_cpus=o.parse_cpuset(flags["cpuset_cpus"]),
        log_driver=o.parse_log_driver(flags["log_driver"]),
        volumes_from=flags["volumes_from"],
        cpus=flags["cpus"],
        pids_limit=max(0, flags["pids_limit"]),
        shm_bytes=o.parse_size(shm) if shm else 64 << 20,
        ipc=o.parse_ipc(flags["ipc"]),
        ulimits=[o.parse_ulimit(text) for text in flags["ulimit"]],
        extra_hosts=[o.parse_extra_host(text) for text in flags["add_host"]],
        group_add=flags["group_add"],
        devices=[o.parse_device(text) for text in flags["device"]],
        sysctls=o.parse_labels(flags["sysctl"]),
        stop_signal=flags["stop_signal"],
        stop_timeout_s=flags["stop_timeout"],
    )


def _network(wanted: str, *, publishing: bool) -> str:
    """The network there is, with a warning on stderr when that is none though nobody said so."""
    from entrepot.cli.output import print_error
    from entrepot.containers.network import choose_network

    choice = choose_network(wanted, publishing=publishing)
    if choice.warning:
        print_error(f"WARNING: {choice.warning}")
    if publishing and choice.network in ("none", "host"):
        print_error(f"WARNING: Published ports are discarded when using {choice.network} network mode")
    return choice.network


def say_missing(name: str) -> None:
    """What docker says before it pulls."""
    from entrepot.cli.output import print_error
    from entrepot.oci.reference import Reference

    print_error(f"Unable to find image '{Reference.parse(name).with_default_tag().familiar()}' locally")


def fetch_image(platform: str | None, *, quiet: bool) -> Callable[[str], None]:
    """Pull with the output on stderr, where docker puts it."""

    def fetch(name: str) -> None:
        import contextlib

        from entrepot.cli.doing.pull import pull_and_report
        from entrepot.oci.reference import Reference

        full = str(Reference.parse(name).with_default_tag())
        with contextlib.redirect_stdout(sys.stderr):
            if not quiet:
                pull_and_report(full, platform=platform)
                return
        with Path(os.devnull).open("w") as null, contextlib.redirect_stdout(null):
            pull_and_report(full, platform=platform, quiet=True)

    return fetch


def write_cidfile(path: str | None, container_id: str) -> None:
    """`--cidfile`."""
    if path:
        Path(path).write_text(container_id)


def check_cidfile(path: str | None) -> None:
    """Raises InvalidOption when the file is there already."""
    from entrepot.containers.errors import InvalidOption

    if path and Path(path).exists():
        raise InvalidOption(
            f"container ID file found, make sure the other container isn't running or delete {path}"
        )


def each(names: Sequence[str], work: Callable[[str], None], *, echo: bool = True, summary: str = "") -> int:
    """Do something to every container; print each name that succeeded and each error. The exit code.

    With `summary`, a last line names those that failed behind it.
    """
    from entrepot.cli import exitcodes
    from entrepot.cli.failures import describe_failure
    from entrepot.cli.output import print_error, write
    from entrepot.errors import EntrepotError

    failed = []
    for name in names:
        try:
            work(name)
        except EntrepotError as error:
            print_error(describe_failure(error))
            failed.append(name)
        else:
            if echo:
                write(name)
    if failed and summary:
        print_error(f"{summary}: {', '.join(failed)}")
    return exitcodes.FAILED if failed else exitcodes.OK


container_arguments = click.argument(
    "containers",
    metavar="CONTAINER [CONTAINER...]",
    nargs=-1,
    required=True,
    shell_complete=complete_container,
)
container_argument = click.argument("container", metavar="CONTAINER", shell_complete=complete_container)
