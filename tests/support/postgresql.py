"""A real PostgreSQL: one server a test run, a fresh database a test."""

import pwd
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.ports import free_port, is_free
from tests.support.programs import missing
from tests.support.shared import shared_server

_SETTINGS = {
    "max_connections": "500",
    "shared_buffers": "64MB",
    "listen_addresses": "127.0.0.1",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "10s",
}


def binaries() -> Path:
    """The folder of the newest installed PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        missing("postgresql")
    return found[-1].parent


def make_cluster(folder: Path, port: int) -> list[str]:
    """Create a cluster in `folder` and return the command line that serves it on `port` of loopback.

    PostgreSQL refuses to run as root, so its own account does.
    """
    programs = binaries()
    account = pwd.getpwnam("postgres")
    shutil.chown(folder, account.pw_uid, account.pw_gid)
    as_postgres = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    cluster = folder / "cluster"
    initdb = [programs / "initdb", "-D", cluster, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
    subprocess.run([*as_postgres, *map(str, initdb)], check=True, capture_output=True, cwd="/")
    options = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
    serve = [str(programs / "postgres"), "-D", str(cluster), "-p", str(port), "-k", str(folder), *options]
    return [*as_postgres, *serve]


def run_sql(port: int, *statements: str, database: str = "postgres") -> str:
    """Run statements as the cluster's owner, each its own transaction; return what they print."""
    argv = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-qAtX", "-v", "ON_ERROR_STOP=1"]
    for statement in statements:
        argv += ["-c", statement]
    done = subprocess.run([*argv, database], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{statements}: {done.stderr}")
    return done.stdout


def is_ready(port: int) -> bool:
    """Whether the server on `port` answers queries."""
    if is_free(port):
        return False
    try:
        return run_sql(port, "select 1").strip() == "1"
    except RuntimeError:
        return False


def _start(folder: Path) -> tuple[Sequence[str], dict[str, Any], Any]:
    port = free_port()
    return make_cluster(folder, port), {"port": port}, lambda: is_ready(port)


@pytest.fixture(scope="session")
def postgresql_port() -> int:
    """The port of the run's PostgreSQL server."""
    return int(shared_server("postgresql", _start)["port"])


@pytest.fixture
def postgresql_url(postgresql_port: int) -> Iterator[str]:
    """A URL of a database that is empty and this test's own."""
    name = f"t{uuid.uuid4().hex}"
    run_sql(postgresql_port, f"create database {name} template template0")
    yield f"postgresql://postgres@127.0.0.1:{postgresql_port}/{name}"
    run_sql(postgresql_port, f"drop database if exists {name} with (force)")


class JumpingClock:
    """Lets one database see another time than its server does, for connections made from now on."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.port is not None
        self._port, self._database = parts.port, parts.path.strip("/")
        self._ahead_s = 0
        self._run(
            "create schema faked",
            "create table faked.ahead (seconds bigint)",
            "insert into faked.ahead values (0)",
            "create function faked.clock_timestamp() returns timestamptz language sql volatile as"
            " 'select pg_catalog.clock_timestamp() + (select seconds from faked.ahead) * interval ''1 s'''",
            f'alter database "{self._database}" set search_path = public, faked, pg_catalog',
        )

    def jump(self, seconds: int) -> None:
        """As an administrator who sets the clock of the database's machine."""
        self._ahead_s += seconds
        self._run(f"update faked.ahead set seconds = {self._ahead_s}")

    def _run(self, *statements: str) -> None:
        run_sql(self._port, *statements, database=self._database)
