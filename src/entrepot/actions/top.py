"""`top`: the processes of a running container, as `ps` shows them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from entrepot.actions.places import the_store
from entrepot.containers.errors import ContainerNotRunning
from entrepot.containers.looking import settled_state
from entrepot.containers.processes import processes_of
from entrepot.containers.records import Containers
from entrepot.errors import EntrepotError, InvalidInput, NotFound
from entrepot.images.store import ImageStore

DEFAULT_ARGUMENTS = ("-ef",)


class NoProcessList(NotFound):
    """This machine has no `ps`."""

    code: ClassVar[str] = "no-process-list"


class Processes(Struct, frozen=True):
    """A heading and a row for each process, cell by cell."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def container_processes(
    name: str, arguments: Sequence[str] = (), *, store: ImageStore | Path | str | None = None
) -> Processes:
    """What `ps ARGUMENTS` says of a container's processes. The arguments have to leave the column PID in.

    Raises NoSuchContainer, ContainerNotRunning, NoProcessList, InvalidInput, EntrepotError when `ps` fails.
    """
    containers = Containers(the_store(store))
    container = containers.find(name)
    state = settled_state(containers, container)
    if state.status != "running":
        raise ContainerNotRunning(container.id)
    program = shutil.which("ps")
    if program is None:
        raise NoProcessList("the program ps is not installed", hint="on Debian: apt-get install procps")
    pids = tuple(map(str, processes_of(state.pid)))
    given = arguments or DEFAULT_ARGUMENTS
    done = _run(program, *given, f"-q{','.join(pids)}")
    if done.returncode:  # that option does not go with every other one, nor is it in every `ps`
        done = _run(program, *given)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it did not say why"])[0]
        raise EntrepotError(f"ps {' '.join(given)}: {reason}")
    return parse_processes(done.stdout, frozenset(pids))


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    # It cuts lines to what it takes for the terminal's width, of standard input's too.
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return subprocess.run(
        argv,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env=environ,
        text=True,
        errors="replace",
        check=False,
    )


def parse_processes(output: str, wanted: frozenset[str]) -> Processes:
    """The rows of `ps`'s output whose PID is wanted; what is left of a line goes to the last column.

    Raises InvalidInput.
    """
    heading, *lines = output.splitlines() or [""]
    titles = tuple(heading.split())
    if "PID" not in titles:
        raise InvalidInput("Couldn't find PID field in ps output", hint="leave the column PID in")
    at, count = titles.index("PID"), len(titles)
    rows = []
    for line in lines:
        cells = line.split(maxsplit=count - 1)
        if len(cells) > at and cells[at] in wanted:
            rows.append(tuple(cell.rstrip() for cell in cells))
    return Processes(titles, tuple(rows))
