"""create, run, start, stop, kill, exec, logs, ps, rm, cp, diff, rename, inspect, wait: as a user types
them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import signal
import subprocess
import tarfile
from collections.abc import Iterator

import pytest

from entrepot.containers.runtime import find_runtime
from tests.integration.containers.conftest import TIMEOUT_S, Box
from tests.support.processes import wait_until
from tests.support.server import ENTREPOT
from tests.support.tarballs import archive, file

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

FOREVER = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done"


MISTAKES: dict[tuple[str, ...], tuple[int, str]] = {
    ("run", "--bogus", "tiny:1"): (125, "unknown flag: --bogus"),
    ("run", "--pull", "never", "nope"): (125, "No such image: nope:latest"),
    ("run", "--network", "bridge", "tiny:1"): (125, "network bridge is not supported"),
    ("create", "--name", "x", "tiny:1"): (1, "Invalid container name (x)"),
    ("run", "--cap-add", "NOPE", "tiny:1"): (125, "unknown capability"),
    ("run", "-u", "bob", "tiny:1"): (125, "unable to find user bob"),
    ("run", "-v", "a:b", "tiny:1"): (125, "must be absolute"),
    ("run", "-w", "rel", "tiny:1"): (125, "needs to be an absolute path"),
    ("run", "-w", "/etc/issue", "tiny:1"): (125, "Error: Cannot mkdir: /etc/issue is not a directory"),
    ("rm", "nope"): (1, "Error: No such container: nope"),
    ("kill", "nope"): (1, "Error: No such container: nope"),
    ("start", "nope"): (1, "Error: No such container: nope"),
    ("logs", "nope"): (1, "Error: No such container: nope"),
    ("diff", "nope"): (1, "Error: No such container: nope"),
    ("export", "nope"): (1, "Error: No such container: nope"),
    ("commit", "nope"): (1, "Error: No such container: nope"),
    ("exec", "nope", "true"): (1, "Error: No such container: nope"),
    ("cp", "nope:/x", "."): (1, "Error: No such container: nope"),
    ("cp", "a:/x", "b:/y"): (1, "copying between containers is not supported"),
    ("ps", "--filter", "foo=bar"): (1, "Error: invalid filter 'foo'"),
    ("ps", "--filter", "status=odd"): (1, "Error: invalid filter 'status=odd'"),
    ("ps", "--filter", "exited=odd"): (1, "Error: invalid filter 'exited=odd'"),
    ("inspect", "--type", "odd", "x"): (1, 'unknown type: "odd": must be one of'),
    ("container", "inspect", "tiny:1"): (1, "Error: No such container: tiny:1"),
    ("start", "nope", "nope2"): (1, "Error: failed to start containers: nope, nope2"),
    ("rename", "nope", "x"): (1, "Error: failed to rename container named nope"),
    ("export", "-o", "/nodir/x", "nope"): (1, "Error: No such container: nope"),
}


def started(box: Box, name: str, script: str = FOREVER) -> str:
    """A container that runs `script` and has written its first line."""
    container_id = box.output("run", "-d", "--name", name, "tiny:1", "sh", "-c", script)
    wait_until(lambda: "up" in box.output("logs", name), what=f"{name} to be up")
    return container_id


def test_run_passes_output_and_exit_code_on(box: Box) -> None:
    done = box.run("run", "tiny:1", "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert box.output("ps", "-aq")
    assert box.output("ps", "-a", "--format", "{{.Status}} {{.Image}}").startswith("Exited (7) ")


def test_run_rm_leaves_nothing(box: Box) -> None:
    box.run("run", "--rm", "-v", "/data", "tiny:1", "true")
    assert box.output("ps", "-aq") == ""
    assert sorted(path.name for path in (box.store / "entrepot/containers").iterdir()) == ["lock"]
    assert list((box.store / "entrepot/volumes").iterdir()) == []


def test_only_files_that_outlive_their_container_are_synced_to_the_disk(box: Box) -> None:
    """Taking down an overlay mount that is not volatile writes everybody's data on that disk back first."""
    mounts = ["sh", "-c", "cat /proc/mounts"]
    assert "volatile" in box.output("run", "--rm", "tiny:1", *mounts).splitlines()[0]
    assert "volatile" not in box.output("run", "--name", "kept", "tiny:1", *mounts).splitlines()[0]
    for source in ("/etc/hostname", "/etc/hosts"):
        box.run("cp", source, "kept:/copied")
    assert box.output("start", "-a", "kept")
    box.run("create", "--rm", "--name", "short", "tiny:1", "cat", "/etc/issue")
    box.run("cp", "/etc/hostname", "short:/copied")
    assert box.output("start", "-a", "short") == "tiny"


def test_a_process_that_cannot_be_started_is_told_as_docker_does(box: Box) -> None:
    cases = {
        ("/nope",): (127, 'exec: "/nope": stat /nope: no such file or directory: unknown'),
        ("nope",): (127, 'exec: "nope": executable file not found in $PATH: unknown'),
        ("/etc",): (126, 'exec: "/etc": permission denied: unknown'),
    }
    for argv, (code, text) in cases.items():
        done = box.run("run", "--rm", "tiny:1", *argv, code=code)
        assert text in done.stderr
        assert done.stderr.endswith("\nRun 'entrepot run --help' for more information\n")
    assert box.output("ps", "-aq") == ""
    made = box.run("run", "-d", "--name", "dead", "tiny:1", "nope", code=127)
    assert made.stdout == box.output("ps", "-aq", "--no-trunc") + "\n"
    attached = box.run("start", "-a", "dead", code=1).stderr
    assert attached.startswith("Error: failed to create task")
    assert attached.count("\n") == 1


EXEC = "OCI runtime exec failed: exec failed: unable to start container process: "
FAILED_EXECS: dict[tuple[str, ...], tuple[int, str]] = {
    ("box", "nope"): (127, f'{EXEC}exec: "nope": executable file not found in $PATH: unknown'),
    ("box", "/nope"): (127, f'{EXEC}exec: "/nope": stat /nope: no such file or directory: unknown'),
    ("box", "/etc"): (126, f'{EXEC}exec: "/etc": permission denied: unknown'),
    ("box", "/etc/issue"): (126, f'{EXEC}exec: "/etc/issue": permission denied: unknown'),
    ("-w", "/nope", "box", "true"): (
        126,
        f'{EXEC}chdir to cwd ("/nope") set in config.json failed: no such file or directory: unknown',
    ),
    ("-u", "nope", "box", "true"): (126, "unable to find user nope: no matching entries in passwd file"),
    ("-d", "box", "nope"): (1, f'Error: {EXEC}exec: "nope": executable file not found in $PATH: unknown'),
    ("-d", "-u", "nope", "box", "true"): (
        1,
        "Error: unable to find user nope: no matching entries in passwd file",
    ),
}


@pytest.mark.skipif(find_runtime().name != "runc", reason="crun says the same in other words")
def test_a_command_that_cannot_be_executed_is_told_as_docker_does(box: Box) -> None:
    started(box, "box")
    for argv, (code, text) in FAILED_EXECS.items():
        done = box.run("exec", *argv, code=code)
        assert (done.stdout, done.stderr) == ("", text + "\n"), argv
    on_terminal = box.run("exec", "-t", "box", "nope", code=127)
    assert (on_terminal.stdout, on_terminal.stderr) == ("", FAILED_EXECS["box", "nope"][1] + "\n")


def test_exec_hands_on_all_of_stderr(box: Box) -> None:
    started(box, "box")
    many = "i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3"
    done = box.run("exec", "box", "sh", "-c", many, code=3)
    assert done.stderr == "".join(f"line {i}\n" for i in range(20000))


def test_mistakes_are_answered_in_words(box: Box) -> None:
    for argv, (code, message) in MISTAKES.items():
        assert message in box.run(*argv, code=code).stderr


def test_create_needs_a_command_and_a_free_name(box: Box) -> None:
    box.run("import", box.tiny_tar, "bare:1")
    assert box.run("create", "bare:1", code=1).stderr == "Error: no command specified\n"
    container_id = box.output("create", "--name", "taken", "tiny:1")
    assert len(container_id) == 64
    message = box.run("create", "--name", "taken", "tiny:1", code=1).stderr
    assert message.startswith(
        f'Error: Conflict. The container name "/taken" is already in use by container "{container_id}". '
    )


def test_the_process_sees_what_the_image_and_the_user_say(box: Box) -> None:
    script = "id; pwd; env; hostname; cat /etc/hosts; cat /v/f; ls /dev/shm"
    shared = box.home / "shared"
    shared.mkdir()
    (shared / "f").write_text("from the host\n")
    text = box.output(
        "run", "--rm", "-u", "alice", "-w", "/made/here", "-e", "A=b", "-e", "FROM=me", "-h", "myhost",
        "--add-host", "db:10.0.0.1", "-v", f"{shared}:/v:ro", "tiny:1", "sh", "-c", script,
    )  # fmt: skip
    assert "uid=1234(alice) gid=5678(alice) groups=5678(alice),50(staff)" in text
    assert "/made/here\n" in text
    assert {"A=b", "FROM=me", "HOSTNAME=myhost", "HOME=/home/alice"} <= set(text.splitlines())
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in text.splitlines()
    assert "10.0.0.1\tdb" in text
    assert "from the host" in text


def test_entry_point_and_command_follow_dockers_rules(box: Box) -> None:
    box.run("mutate", "tiny:1", "-t", "entry:1", "--entrypoint", "/bin/sh -c", "--cmd", "'echo image'")
    assert box.output("run", "--rm", "entry:1") == "image"
    assert box.output("run", "--rm", "entry:1", "echo user") == "user"
    assert box.output("run", "--rm", "--entrypoint", "/bin/cat", "entry:1", "/etc/issue") == "tiny"
    assert box.run("run", "--entrypoint", "", "entry:1", code=125).stderr.startswith(
        "entrepot: Error: no command specified"
    )


def test_isolation_is_dockers_by_default(box: Box) -> None:
    script = "cat /proc/self/status; ls -la /proc/kcore; echo x > /proc/sys/kernel/hostname; ls /sys/firmware"
    text = box.run("run", "--rm", "tiny:1", "sh", "-c", script, code=None)
    assert "CapBnd:\t00000000a80425fb" in text.stdout
    assert "CapInh:\t0000000000000000" in text.stdout
    assert "Seccomp:\t2" in text.stdout
    assert "Read-only file system" in text.stderr
    dropped = box.output(
        "run", "--rm", "--cap-drop", "ALL", "--cap-add", "chown", "--security-opt", "no-new-privileges",
        "tiny:1", "cat", "/proc/self/status",
    )  # fmt: skip
    assert "CapEff:\t0000000000000001" in dropped
    assert "NoNewPrivs:\t1" in dropped
    assert box.run("run", "--rm", "--read-only", "tiny:1", "touch", "/x", code=1).stderr


def test_input_reaches_the_process(box: Box) -> None:
    data = b"line\n" * 100_000
    done = box.run("run", "--rm", "-i", "tiny:1", "wc", "-c", stdin=data)
    assert done.stdout.strip() == str(len(data))
    assert box.output("run", "--rm", "tiny:1", "cat", stdin=b"not sent") == ""


def test_large_output_arrives_whole_and_in_the_log(box: Box) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo 'line of some length, number '$i; i=$((i+1)); done"
    printed = box.run("run", "--name", "talker", "tiny:1", "sh", "-c", script).stdout
    assert printed.count("\n") == 3000
    assert box.run("logs", "talker").stdout == printed
    assert box.output("logs", "--tail", "2", "talker").splitlines() == printed.splitlines()[-2:]


def read_until(fd: int, wanted: bytes) -> None:
    """Read from a terminal until `wanted` has appeared."""
    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([fd], [], [], TIMEOUT_S)
        assert ready, f"{wanted!r} did not come, only {seen!r}"
        seen += os.read(fd, 1000)


@contextlib.contextmanager
def on_a_terminal(box: Box, *argv: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command on a terminal of its own, and the other end of that."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [ENTREPOT, *argv], stdin=slave, stdout=slave, stderr=slave, env=box.env, cwd=box.home,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        yield process, master
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
        os.close(master)


def test_a_terminal_is_passed_through(box: Box) -> None:
    script = "tty; read x; echo got $x; exit 3"
    with on_a_terminal(box, "run", "--rm", "-it", "tiny:1", "sh", "-c", script) as (process, terminal):
        read_until(terminal, b"/dev/pts/0")
        os.write(terminal, b"word\n")
        read_until(terminal, b"got word")
        assert process.wait(TIMEOUT_S) == 3


def test_detach_keys_leave_a_container_running(box: Box) -> None:
    script = ("sh", "-c", "tty; read x")
    with on_a_terminal(box, "run", "-it", "--name", "left", "tiny:1", *script) as (process, terminal):
        read_until(terminal, b"/dev/pts/0")
        os.write(terminal, b"\x10\x11")
        assert process.wait(TIMEOUT_S) == 0
    assert box.output("ps", "--format", "{{.Names}}") == "left"


def test_stop_sends_the_signal_and_then_kills(box: Box) -> None:
    started(box, "polite")
    assert box.output("stop", "polite") == "polite"
    assert box.output("logs", "polite") == "up\nbye"
    assert box.output("logs", "--details", "--tail", "1", "polite") == " bye"
    assert box.output("wait", "polite") == "5"
    started(box, "stubborn", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    box.run("stop", "-t", "0", "stubborn")
    assert box.output("wait", "stubborn") == "137"


def test_signals_are_passed_on(box: Box) -> None:
    process = subprocess.Popen(
        [ENTREPOT, "run", "--name", "front", "tiny:1", "sh", "-c", FOREVER],
        stdout=subprocess.PIPE, env=box.env, cwd=box.home,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 5
    process.stdout.close()


def test_kill_and_start_again_keep_the_files(box: Box) -> None:
    container_id = started(box, "again", "echo up >> /count; cat /count; while :; do sleep 0.1; done")
    assert box.output("ps", "-q") == container_id[:12]
    assert "already" not in box.run("start", "again").stderr
    assert box.output("kill", "again") == "again"
    assert box.output("wait", container_id[:7]) == "137"
    assert "is not running" in box.run("kill", "again", code=1).stderr
    assert box.output("start", "again") == "again"
    wait_until(lambda: box.output("logs", "again").count("up") == 3, what="the second start")
    message = box.run("rm", "again", code=1).stderr
    assert message == (
        'Error: cannot remove container "again": container is running: '
        "stop the container before removing or force remove\n"
    )
    assert box.output("rm", "-f", "again") == "again"
    assert box.run("rm", "-f", "again").stderr == "Error: No such container: again\n"


def test_exec_runs_one_more_process(box: Box) -> None:
    started(box, "host")
    script = "id -u; pwd; echo $X $FROM"
    printed = box.output("exec", "-u", "alice", "-w", "/tmp", "-e", "X=1", "host", "sh", "-c", script)
    assert printed == "1234\n/tmp\n1 image"
    assert box.run("exec", "host", "sh", "-c", "exit 9", code=9)
    assert box.output("exec", "-i", "host", "cat", stdin=b"sent") == "sent"
    assert "executable file not found" in box.run("exec", "host", "nope", code=127).stderr
    assert box.run("exec", "-t", "host", "sh", "-c", "test -t 0 && echo on one").stdout == "on one\r\n"
    unknown = box.run("exec", "-u", "nope", "host", "true", code=126).stderr
    assert unknown == "unable to find user nope: no matching entries in passwd file\n"
    box.run("exec", "-d", "host", "touch", "/touched")
    wait_until(lambda: "A /touched" in box.output("diff", "host"), what="the detached process")
    box.run("kill", "host")
    box.run("wait", "host")
    assert "is not running" in box.run("exec", "host", "true", code=1).stderr


def test_ps_lists_and_filters(box: Box) -> None:
    box.run(
        "create", "--name", "one", "-l", "role=web", "--tmpfs", "/scratch",
        "tiny:1", "sh", "-c", "echo a long command line",
    )  # fmt: skip
    box.run("run", "--name", "two", "--network", "none", "tiny:1", "false", code=1)
    header, newest, oldest = box.output("ps", "-a").splitlines()
    assert (
        header == "CONTAINER ID   IMAGE     COMMAND                  CREATED                  STATUS"
        or header.startswith("CONTAINER ID   IMAGE     COMMAND")
    )
    assert '"sh -c \'echo a long …"' in oldest
    assert newest.endswith("two")
    assert box.output("ps", "-a", "--filter", "label=role=web", "--format", "{{.Names}}") == "one"
    assert box.output("ps", "--filter", "exited=1", "--format", "{{.Names}}") == "two"
    assert box.output("ps", "--filter", "status=created", "--format", "{{.Names}}") == "one"
    assert box.output("ps", "-l", "--format", "{{.Names}}") == "two"
    assert box.output("ps", "-a", "--filter", "ancestor=tiny:1", "--format", "{{.Names}}") == "two\none"
    assert box.run("ps", "-a", "--filter", "health=none", "--format", "{{.Mounts}}").stdout == "\n\n"
    row = json.loads(box.output("ps", "-l", "--format", "json"))
    assert (row["Names"], row["State"], row["Image"], row["Networks"]) == ("two", "exited", "tiny:1", "none")


def test_rename_and_inspect(box: Box) -> None:
    box.run("create", "--name", "before", "-e", "A=b", "tiny:1", "sh")
    box.run("rename", "before", "after")
    document = json.loads(box.output("inspect", "after"))[0]
    assert (document["Name"], document["State"]["Status"], document["Path"]) == ("/after", "created", "sh")
    assert document["Config"]["Env"] == ["A=b", "FROM=image"]
    assert document["Image"] == box.output("images", "-q", "--no-trunc")
    box.run("create", "--name", "other", "tiny:1")
    assert "already in use" in box.run("rename", "other", "after", code=1).stderr
    assert box.run("rename", "other", "other", code=1).stderr.splitlines() == [
        "Error: Renaming a container with the same name as its current name",
        "Error: failed to rename container named other",
    ]
    assert box.output("container", "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "after") == ""
    box.run("run", "--name", "wrote", "tiny:1", "sh", "-c", "head -c 1000 /dev/zero > /zeros")
    own, total = map(int, box.output("inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "wrote").split())
    image = int(box.output("image", "inspect", "-f", "{{.Size}}", "tiny:1"))
    assert (own, total) == (1000, 1000 + image)
    box.run("commit", "wrote", "wrote:1")
    assert box.output("image", "inspect", "-f", "{{.Size}}", "wrote:1") == str(total)


def test_images_in_use_stay(box: Box) -> None:
    box.run("create", "--name", "user", "tiny:1")
    message = box.run("rmi", "tiny:1", code=1).stderr
    assert "unable to remove repository reference" in message
    box.run("rm", "user")
    box.run("rmi", "tiny:1")
    assert list((box.store / "entrepot/snapshots/root").glob("*.json")) == []


def test_copying_follows_dockers_rules(box: Box) -> None:
    here = box.home
    (here / "file").write_text("data\n")
    (here / "dir/sub").mkdir(parents=True)
    (here / "dir/sub/x").write_text("x\n")
    os.chown(here / "file", 4321, 4321)
    box.run("create", "--name", "box", "tiny:1")
    box.run("cp", "file", "box:/new")
    box.run("cp", "file", "box:/tmp")
    box.run("cp", "dir", "box:/tmp")
    box.run("cp", "dir/.", "box:/opt")
    box.run("cp", "-a", "file", "box:/owned")
    with tarfile.open(fileobj=io.BytesIO(_bytes(box, "export", "box"))) as tar:
        names = {member.name: member for member in tar}
    assert {"new", "tmp/file", "tmp/dir/sub/x", "opt/sub/x"} <= set(names)
    assert (names["new"].uid, names["owned"].uid) == (4321, 4321)
    box.run("cp", "box:/etc", "etc")
    box.run("cp", "box:/etc", "etc")
    assert (here / "etc/etc/issue").read_text() == (here / "etc/issue").read_text() == "tiny\n"
    box.run("cp", "box:/var/link", "kept")
    assert os.readlink(here / "kept") == "/etc/passwd"
    box.run("cp", "-L", "box:/var/link", "followed")
    assert "alice" in (here / "followed").read_text()
    with tarfile.open(fileobj=io.BytesIO(_bytes(box, "cp", "box:/usr/share", "-"))) as tar:
        assert tar.getnames() == ["share", "share/doc", "share/doc/one", "share/doc/two"]
    (here / "sub").write_text("a file where a directory is\n")
    (here / "new").mkdir()
    refusals = {
        ("sub", "box:/opt"): 'Error: cannot overwrite directory "/sub" with non-directory\n',
        ("new", "box:/"): 'Error: cannot overwrite non-directory "/new" with directory\n',
        ("box:/etc/issue", "nodir/x"): f'invalid output path: directory "{here}/nodir" does not exist\n',
        ("box:/etc/issue", "nodir/"): "no such directory\n",
        ("dir", "box:/etc/issue"): "cannot copy directory\n",
        ("file", "box:/nodir/x"): "Error: Could not find the file /nodir in container box\n",
        ("box:/nothere", "x"): "Error: Could not find the file /nothere in container box\n",
    }
    for argv, message in refusals.items():
        assert box.run("cp", *argv, code=1).stderr == message
    for target in ("/etc/issue", "/nodir"):
        told = box.run("cp", "-", f"box:{target}", stdin=archive(file(b"x", b"x")), code=1).stderr
        assert told == f'destination "box:{target}" must be a directory\n'


def _bytes(box: Box, *argv: str) -> bytes:
    done = subprocess.run(
        [ENTREPOT, *argv], capture_output=True, env=box.env, cwd=box.home, check=True, timeout=TIMEOUT_S
    )
    return done.stdout


def test_copying_from_and_into_a_running_container_sees_its_mounts(box: Box) -> None:
    started(box, "live", f"ln -s / /root-link; {FOREVER}")
    (box.home / "in").write_text("in\n")
    box.run("cp", "in", "live:/root-link/tmp/in")
    assert box.output("exec", "live", "cat", "/tmp/in") == "in"
    box.run("cp", "live:/etc/hosts", "hosts")
    assert "localhost" in (box.home / "hosts").read_text()


def test_a_link_in_a_container_leads_nowhere_outside(box: Box) -> None:
    """K1: docker's cp once followed such links on the host."""
    secret = box.home / "secret"
    secret.write_text("host\n")
    script = (
        f"mkdir -p {box.home}; ln -s {box.home} /escape; ln -s ../../../../../../..{box.home} /up; echo up"
    )
    box.run("run", "--name", "sly", "tiny:1", "sh", "-c", script)
    (box.home / "mine").write_text("mine\n")
    box.run("cp", "mine", "sly:/escape/secret")
    box.run("cp", "mine", "sly:/up/secret")
    assert secret.read_text() == "host\n"
    assert "Could not find" in box.run("cp", "sly:/escape/nothere", "out", code=1).stderr


def test_a_layer_is_unpacked_once_for_many_at_a_time(box: Box) -> None:
    processes = [
        subprocess.Popen([ENTREPOT, "create", "tiny:1"], env=box.env, cwd=box.home, stdout=subprocess.PIPE)
        for _ in range(5)
    ]
    ids = [process.communicate(timeout=TIMEOUT_S)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 5
    assert len(set(ids)) == 5
    folder = box.store / "entrepot/snapshots/root"
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 1
    assert len(list(folder.glob("*.json"))) == 1


def test_volumes_outlive_containers(box: Box) -> None:
    box.run(
        "run", "--rm", "-v", "kept:/usr/share/doc", "tiny:1", "sh", "-c", "echo new > /usr/share/doc/three"
    )
    assert box.output("run", "--rm", "-v", "kept:/d", "tiny:1", "ls", "/d").split() == ["one", "three", "two"]


def test_library_runs_and_collects_output(box: Box) -> None:
    from entrepot.actions.exec import exec_in_container
    from entrepot.actions.run import run_container
    from entrepot.actions.start import start_container
    from entrepot.containers.options import CreateOptions

    done = run_container(
        "tiny:1", ["cat"], stdin=b"hello", options=CreateOptions(auto_remove=True), store=box.store
    )
    assert (done.exit_code, done.stdout) == (0, b"hello")
    much = bytes(3_000_000)
    assert run_container("tiny:1", ["cat"], stdin=much, store=box.store).stdout == much
    assert run_container("tiny:1", ["true"], stdin=much, store=box.store).exit_code == 0
    box.run("create", "--name", "lib", "tiny:1", "sleep", "1000")
    start_container("lib", store=box.store)
    assert exec_in_container("lib", ["id", "-u"], store=box.store).stdout == b"0\n"


def test_names_are_looked_up_in_the_image_alone(box: Box) -> None:
    (box.home / "passwd").write_text("mallory:x:1:1::/:/bin/sh\n")
    script = f"rm /etc/passwd; ln -s /../..{box.home}/passwd /etc/passwd"
    box.run("run", "--name", "edit", "tiny:1", "sh", "-c", script)
    box.run("commit", "edit", "sly:1")
    done = box.run("run", "--rm", "-u", "mallory", "sly:1", "id", code=125)
    assert "unable to find user mallory" in done.stderr
