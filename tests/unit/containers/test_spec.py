"""From a container to the runtime's config.json, and what users may ask for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from entrepot.containers.errors import InvalidContainerName, InvalidOption, NoCommand, NoSuchUser
from entrepot.containers.lifecycle import merged_process
from entrepot.containers.names import check_name, made_up_name, new_id
from entrepot.containers.options import (
    CreateOptions,
    parse_cpuset,
    parse_detach_keys,
    parse_env,
    parse_env_file,
    parse_ipc,
    parse_log_driver,
    parse_memory_swap,
    parse_mount,
    parse_signal,
    parse_size,
    parse_tmpfs,
    parse_ulimit,
    parse_volume,
)
from entrepot.containers.records import Container, HostConfig, Mount, ProcessConfig
from entrepot.containers.seccomp import default_seccomp
from entrepot.containers.spec import (
    ALL_CAPABILITIES,
    DEFAULT_CAPABILITIES,
    Surroundings,
    build_spec,
    capabilities_of,
    merged_environment,
)
from entrepot.containers.users import User, find_user
from entrepot.oci.imageconfig import ImageConfig

EVERYTHING = frozenset(ALL_CAPABILITIES)
AROUND = Surroundings("/root-fs", "/files", False, False, EVERYTHING)
ROOT = User(0, 0, (), "/root")


def container(
    process: ProcessConfig = ProcessConfig(cmd=["true"]), host: HostConfig = HostConfig()
) -> Container:
    return Container("a" * 64, "name", datetime.now(UTC), "image", "sha256:x", [], process, host)


def image(**runtime: object) -> ImageConfig:
    return ImageConfig.build(
        {"os": "linux", "architecture": "amd64", "config": runtime, "rootfs": {"diff_ids": []}}
    )


class FakeFiles:
    """/etc/passwd and /etc/group as given."""

    def __init__(self, passwd: str = "", group: str = "") -> None:
        self._files = {(b"etc", b"passwd"): passwd, (b"etc", b"group"): group}

    def read_file(self, path: tuple[bytes, ...]) -> bytes | None:
        return self._files[path].encode()


FILES = FakeFiles(
    "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:100::/home/alice:/bin/sh\nbroken line\nbob:x:x:1::/:\n",
    "wheel:x:10:alice,carol\nusers:x:100:\nstaff:x:50:alice\n",
)


@pytest.mark.parametrize(
    ("wanted", "user"),
    [
        ("", User(0, 0, (), "/root")),
        ("alice", User(1000, 100, (10, 50), "/home/alice")),
        ("1000", User(1000, 100, (10, 50), "/home/alice")),
        ("alice:wheel", User(1000, 10, (), "/home/alice")),
        ("1000:5", User(1000, 5, (), "/home/alice")),
        ("4242", User(4242, 0, (), "/")),
        ("4242:users", User(4242, 100, (), "/")),
        (":50", User(0, 50, (), "/root")),
    ],
)
def test_users_are_found_as_docker_finds_them(wanted: str, user: User) -> None:
    assert find_user(wanted, FILES) == user


@pytest.mark.parametrize("wanted", ["nobody", "alice:nogroup", "bob", "99999999999", "0:99999999999"])
def test_unknown_users_are_refused(wanted: str) -> None:
    with pytest.raises(NoSuchUser):
        find_user(wanted, FILES)


def test_further_groups_are_added() -> None:
    assert find_user("alice", FILES, ["wheel", "7"]).groups == (10, 50, 7)


@pytest.mark.parametrize(
    ("runtime", "options", "command", "argv"),
    [
        ({"Cmd": ["a", "b"]}, {}, (), ["a", "b"]),
        ({"Cmd": ["a"]}, {}, ("x",), ["x"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {}, (), ["e", "a"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {}, ("x",), ["e", "x"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {"entrypoint": "n"}, (), ["n"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {"entrypoint": "n"}, ("x",), ["n", "x"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {"entrypoint": ""}, ("x",), ["x"]),
    ],
)  # fmt: skip
def test_entry_point_and_command(
    runtime: dict[str, object], options: dict[str, str], command: tuple[str, ...], argv: list[str]
) -> None:
    process = merged_process(image(**runtime), command, CreateOptions(**options), "f" * 64)  # type: ignore[arg-type]
    assert [*(process.entrypoint or []), *(process.cmd or [])] == argv


def test_the_users_wishes_go_over_the_images() -> None:
    config = image(
        Env=["A=image", "B=image"],
        Labels={"x": "1", "y": "1"},
        WorkingDir="/w",
        User="u",
        StopSignal="9",
        ExposedPorts={"80/tcp": {}},
        Volumes={"/v": {}},
    )
    options = CreateOptions(env=["A=mine", "C=mine"], labels={"y": "2"}, expose=["81"], user="me")
    process = merged_process(config, ["true"], options, "c" * 64)
    assert process.env == ["A=mine", "C=mine", "B=image"]
    assert process.labels == {"x": "1", "y": "2"}
    assert (process.working_dir, process.user, process.stop_signal) == ("/w", "me", "9")
    assert (process.exposed_ports, process.volumes, process.hostname) == (
        ["80/tcp", "81/tcp"],
        ["/v"],
        "c" * 12,
    )


def test_the_environment_begins_as_dockers() -> None:
    spec = build_spec(
        container(ProcessConfig(hostname="h", tty=True, cmd=["x"], env=["A=b", "TERM=linux"])), ROOT, AROUND
    )
    assert spec["process"]["env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=h",
        "TERM=linux",
        "A=b",
    ]  # fmt: skip
    assert merged_environment(["A=1", "B=2"], ["A", "C=3"]) == ["B=2", "C=3"]


def test_docker_defaults_keep_the_container_in() -> None:
    spec = build_spec(container(), ROOT, AROUND)
    assert spec["process"]["capabilities"]["bounding"] == list(DEFAULT_CAPABILITIES)
    assert spec["process"]["capabilities"]["inheritable"] == []
    assert {"type": "network"} in spec["linux"]["namespaces"]
    assert "/proc/kcore" in spec["linux"]["maskedPaths"]
    assert "/proc/sys" in spec["linux"]["readonlyPaths"]
    hot = "/sys/devices/system/cpu/cpu0/thermal_throttle"
    around = msgspec.structs.replace(AROUND, throttling=[hot])
    assert hot in build_spec(container(), ROOT, around)["linux"]["maskedPaths"]
    assert spec["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert spec["process"]["noNewPrivileges"] is False
    blocked = spec["linux"]["seccomp"]["syscalls"][1]["names"]
    assert {"mount", "setns", "kexec_load", "bpf", "add_key", "reboot"} <= set(blocked)


def test_privileged_lifts_what_it_says() -> None:
    spec = build_spec(container(host=HostConfig(privileged=True, network="host")), ROOT, AROUND)
    assert set(spec["process"]["capabilities"]["bounding"]) == EVERYTHING
    assert "maskedPaths" not in spec["linux"]
    assert "seccomp" not in spec["linux"]
    assert {"type": "network"} not in spec["linux"]["namespaces"]


def test_a_user_who_is_not_root_holds_no_capabilities_at_first() -> None:
    capabilities = build_spec(container(), User(1, 1, (), "/"), AROUND)["process"]["capabilities"]
    assert (capabilities["effective"], capabilities["permitted"]) == ([], [])
    assert capabilities["bounding"] == list(DEFAULT_CAPABILITIES)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (["net_admin"], [], {*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN"}),
        ([], ["CAP_CHOWN"], set(DEFAULT_CAPABILITIES) - {"CAP_CHOWN"}),
        (["SYS_TIME"], ["all"], {"CAP_SYS_TIME"}),
        (["ALL"], ["SYS_ADMIN"], EVERYTHING - {"CAP_SYS_ADMIN"}),
    ],
    ids=["add", "drop", "drop-all", "add-all"],
)
def test_capabilities_are_added_and_dropped(add: list[str], drop: list[str], expected: set[str]) -> None:
    assert set(capabilities_of(add, drop, privileged=False, available=EVERYTHING)) == expected


def test_capabilities_that_this_process_lacks_are_not_handed_out() -> None:
    found = capabilities_of(["SYS_ADMIN"], [], privileged=False, available=frozenset({"CAP_CHOWN"}))
    assert found == ["CAP_CHOWN"]
    with pytest.raises(InvalidOption):
        capabilities_of(["NOPE"], [], privileged=False, available=EVERYTHING)


def test_seccomp_opens_up_with_the_capability() -> None:
    allowed, refused = (rule["names"] for rule in default_seccomp(["CAP_SYS_ADMIN"])["syscalls"][:2])
    assert {"mount", "clone", "clone3", "bpf", "syslog"} <= set(allowed)
    assert {"init_module", "io_uring_setup", "pivot_root"} <= set(refused)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "s390x", "ppc64le", "riscv64", "unheard-of"])
@pytest.mark.parametrize("capabilities", [(), DEFAULT_CAPABILITIES, ALL_CAPABILITIES])
def test_no_call_is_both_allowed_and_refused(machine: str, capabilities: tuple[str, ...]) -> None:
    """A rule without an argument beside one with, or in both lists: the runtime's library would decide."""
    profile = default_seccomp(capabilities, machine=machine)
    plain = [name for rule in profile["syscalls"] if "args" not in rule for name in rule["names"]]
    by_argument = {name for rule in profile["syscalls"] if "args" in rule for name in rule["names"]}
    assert len(plain) == len(set(plain))
    assert not by_argument & set(plain)
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    clone = [rule for rule in profile["syscalls"] if rule["names"] == ["clone"]]
    assert {rule["args"][0]["index"] for rule in clone} <= {1 if machine == "s390x" else 0}


def test_mounts_lie_in_the_order_of_their_depth() -> None:
    mounts = [
        Mount("/h/b", "/a/b"),
        Mount("/h/a", "/a", read_only=True),
        Mount("", "/t", kind="tmpfs", options="size=1m"),
    ]
    spec = build_spec(container(host=HostConfig(mounts=mounts)), ROOT, AROUND)
    own = [(mount["destination"], mount["options"]) for mount in spec["mounts"][-3:]]
    assert own == [
        ("/a", ["rbind", "rprivate", "ro"]),
        ("/t", ["nosuid", "nodev", "noexec", "size=1m"]),
        ("/a/b", ["rbind", "rprivate"]),
    ]


def test_a_file_of_the_users_own_is_not_covered() -> None:
    spec = build_spec(container(host=HostConfig(mounts=[Mount("/mine", "/etc/hosts")])), ROOT, AROUND)
    assert [mount["source"] for mount in spec["mounts"] if mount["destination"] == "/etc/hosts"] == ["/mine"]


def test_without_root_there_are_no_control_groups() -> None:
    around = Surroundings("/r", "/f", True, True, EVERYTHING, groups=False)
    spec = build_spec(container(host=HostConfig(network="host")), User(0, 0, (5,), "/"), around)
    assert "resources" not in spec["linux"]
    assert spec["process"]["user"]["additionalGids"] == []
    assert next(mount for mount in spec["mounts"] if mount["destination"] == "/sys")["source"] == "/sys"


def test_limits_become_resources() -> None:
    host = HostConfig(memory_bytes=1 << 20, cpus=1.5, pids_limit=9, ulimits=[("nofile", 1, 2)])
    spec = build_spec(container(host=host), ROOT, AROUND)
    assert spec["linux"]["resources"]["memory"] == {"limit": 1 << 20}
    assert spec["linux"]["resources"]["cpu"] == {"quota": 150_000, "period": 100_000}
    assert spec["linux"]["resources"]["pids"] == {"limit": 9}
    assert spec["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]


def test_a_container_without_a_command_is_refused() -> None:
    with pytest.raises(NoCommand):
        build_spec(container(ProcessConfig()), ROOT, AROUND)


VOLUMES = {
    "/h:/t": Mount("/h", "/t"),
    "/h:/t/:ro": Mount("/h", "/t", read_only=True),
    "/h:/t:rshared,Z": Mount("/h", "/t", propagation="rshared"),
    "name:/t:ro": Mount("", "/t", kind="volume", name="name", read_only=True),
    "/t": Mount("", "/t", kind="volume", anonymous=True),
}


@pytest.mark.parametrize("text", VOLUMES)
def test_volumes_are_read(text: str) -> None:
    assert parse_volume(text) == VOLUMES[text]


@pytest.mark.parametrize(
    "text", ["a:b", "/h:/t:bogus", "/h:/", "/h:/a/../..", ":/t", "/a:/b:ro:x", "b@d:/t", "rel"]
)
def test_volumes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InvalidOption):
        parse_volume(text)


def test_mounts_and_tmpfs_are_read(tmp_path: Path) -> None:
    assert parse_mount(f"type=bind,source={tmp_path},target=/t,readonly") == Mount(
        str(tmp_path), "/t", read_only=True
    )
    assert parse_mount("source=v,dst=/t") == Mount("", "/t", kind="volume", name="v")
    assert parse_mount("type=tmpfs,target=/t,tmpfs-size=1m").options == f"size={1 << 20}"
    assert parse_tmpfs("/t:size=1m") == Mount("", "/t", kind="tmpfs", options="size=1m")
    outside = "type=volume,source=../..,target=/t"
    for text in ("type=bind,source=/nope,target=/t", "type=what,target=/t", "type=bind,source=/", outside):
        with pytest.raises(InvalidOption):
            parse_mount(text)


def test_sizes_signals_limits_and_variables_are_read(tmp_path: Path) -> None:
    assert [parse_size(text) for text in ("1", "64m", "1.5g", "2KB")] == [1, 64 << 20, 3 << 29, 2048]
    assert [parse_signal(text) for text in ("9", "KILL", "SIGTERM", "int", "RTMIN+3")] == [9, 9, 15, 2, 37]
    assert parse_ulimit("nofile=1:2") == ("nofile", 1, 2)
    assert parse_env(["A=b", "HOME", "NONE"], {"HOME": "/h"}) == ["A=b", "HOME=/h"]
    (tmp_path / "env").write_text("# comment\nA=b c\n\n  B\n")
    assert parse_env_file(tmp_path / "env") == ["A=b c", "B"]
    refused = [
        (parse_size, "much"),
        (parse_signal, "NOPE"),
        (parse_signal, "99"),
        (parse_ulimit, "nofile"),
        (parse_ulimit, "nofile=2:1"),
    ]
    for parse, text in refused:
        with pytest.raises(InvalidOption):
            parse(text)


def test_names_are_dockers() -> None:
    assert check_name("/ok_1.x-y") == "ok_1.x-y"
    for name in ("x", "", "-ab", "a b", "a/b"):
        with pytest.raises(InvalidContainerName):
            check_name(name)
    assert check_name(made_up_name())
    assert len(new_id()) == 64


def test_swap_and_processors_become_resources() -> None:
    host = HostConfig(memory_bytes=1 << 20, memory_swap_bytes=-1, cpuset_cpus="0-1")
    spec = build_spec(container(host=host), ROOT, AROUND)
    assert spec["linux"]["resources"]["memory"] == {"limit": 1 << 20, "swap": -1}
    assert spec["linux"]["resources"]["cpu"] == {"cpus": "0-1"}


def test_swap_is_memory_and_swap_together() -> None:
    assert parse_memory_swap("2m", 1 << 20) == 2 << 20
    assert parse_memory_swap("-1", 0) == -1
    with pytest.raises(InvalidOption, match="always set the Memory limit"):
        parse_memory_swap("2m", 0)
    with pytest.raises(InvalidOption, match="should be larger than memory limit"):
        parse_memory_swap("1m", 2 << 20)


def test_processors_drivers_and_keys_are_checked() -> None:
    assert parse_cpuset("0-2,4") == "0-2,4"
    with pytest.raises(InvalidOption, match="Invalid value x for cpuset cpus"):
        parse_cpuset("x")
    assert parse_log_driver("none") == "none"
    with pytest.raises(InvalidOption, match="no log driver named 'syslog' is registered"):
        parse_log_driver("syslog")
    assert parse_detach_keys("ctrl-x,q,ctrl-[") == b"\x18q\x1b"
    for text in ("", "ctrl-1", "ab"):
        with pytest.raises(InvalidOption, match="Unknown character"):
            parse_detach_keys(text)


def test_the_hosts_shared_memory_is_bound_and_none_has_no_place_for_it() -> None:
    def ipc(mode: str, *, rootless: bool = False) -> tuple[bool, dict[str, str]]:
        around = msgspec.structs.replace(AROUND, rootless=rootless)
        spec = build_spec(container(host=HostConfig(ipc=mode)), ROOT, around)
        kinds = {mount["destination"]: mount["type"] for mount in spec["mounts"]}
        places = ("/dev/shm", "/dev/mqueue")
        return {"type": "ipc"} in spec["linux"]["namespaces"], {p: kinds[p] for p in places if p in kinds}

    assert ipc("private") == (True, {"/dev/shm": "tmpfs", "/dev/mqueue": "mqueue"})
    assert ipc("none") == (True, {"/dev/mqueue": "mqueue"})
    assert ipc("host") == (False, {"/dev/shm": "bind", "/dev/mqueue": "mqueue"})
    assert ipc("host", rootless=True) == (False, {"/dev/shm": "bind"})


def test_ipc_modes_are_checked() -> None:
    assert [parse_ipc(text) for text in ("", "private", "host", "none")] == [
        "private", "private", "host", "none",
    ]  # fmt: skip
    for text in ("container:db", "shareable"):
        with pytest.raises(InvalidOption, match=f"--ipc {text} is not supported"):
            parse_ipc(text)
    with pytest.raises(InvalidOption, match="invalid IPC mode: odd"):
        parse_ipc("odd")
