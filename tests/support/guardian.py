"""Runs one server for a whole test run and ends it when the run is over, however that ends.

`python -m tests.support.guardian PID ARGV…` starts ARGV in a process group of its own and kills the group
as soon as process PID (the test run) has gone or the guardian itself gets SIGTERM. A test worker may
therefore start a server that outlives it, and a killed test run leaves nothing behind.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def main() -> int:
    owner = int(sys.argv[1])
    process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, start_new_session=True)
    told_r, told_w = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(told_w, b"x"))
    watched: list[int] = [told_r, os.pidfd_open(process.pid)]
    with contextlib.suppress(ProcessLookupError):
        watched.append(os.pidfd_open(owner))
    if len(watched) == 3:
        select.select(watched, [], [])
    _kill_group(process)
    return 0


if __name__ == "__main__":
    sys.exit(main())
