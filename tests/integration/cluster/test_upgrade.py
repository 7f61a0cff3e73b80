"""Every node is replaced in turn under load, by a later version and back; background work runs elsewhere."""

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from entrepot.server.db import migrate
from entrepot.server.db.migrate import schema_version
from tests.faults.journal import Journal, Pusher
from tests.integration.cluster.nodes import Place, haproxy, node_for_later, replace_node
from tests.support.processes import started, wait_until
from tests.support.server import ENTREPOT, clean_env

pytestmark = pytest.mark.timeout(600)

LATER_SCHEMA = """
import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = "{previous}"
serves_previous = True


def upgrade() -> None:
    op.add_column("tag", sa.Column("later", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("tag", "later")
"""
LATER_PROGRAM = """
import pathlib, sys
from entrepot.server.db import migrate
migrate.MIGRATIONS = pathlib.Path(sys.argv.pop(1))
sys.argv[0] = "entrepot"
from entrepot.cli.program import run
run()
"""


@pytest.fixture
def later(tmp_path: Path) -> list[str]:
    """The command of a version whose schema has a column more."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    previous = migrate._revisions()[0]
    (folder / "versions" / "9000_later.py").write_text(LATER_SCHEMA.format(previous=previous))
    return [sys.executable, "-c", LATER_PROGRAM, str(folder)]


@contextmanager
def load(port: int, journal: Journal) -> Iterator[list[BaseException]]:
    """Clients for whom any answer that is not the right one is a fault."""
    stop, faults = threading.Event(), list[BaseException]()

    def work(seed: int) -> None:
        pusher = Pusher(port, journal, seed, repository="rolling/app")
        try:
            while not stop.wait(0.02):
                pusher.work()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield faults
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)


def test_old_new_old_drops_no_request(place: Place, tmp_path: Path, later: list[str]) -> None:
    """C8 and the way of an upgrade: a node that is about to stop gets nothing new and finishes what it has;
    the schema changes under the old nodes; old ones start again on the new schema. A worker of its own does
    the background work all the time.
    """
    env = {"ENTREPOT_SERVER_DRAIN_DELAY": "300s", "ENTREPOT_SERVER_JOBS": "false"}
    journal = Journal()
    with ExitStack() as until_end:
        nodes = [
            until_end.enter_context(node_for_later(tmp_path / name, place, env=env)) for name in ("a", "b")
        ]
        for node in nodes:
            node.start()
            until_end.callback(node.kill)  # its drain delay is long
        old, known = [node.argv for node in nodes], schema_version(place.catalog)
        worker_log = tmp_path / "worker.log"
        worker_env = clean_env(**place.env, ENTREPOT_GC_INTERVAL="500ms")
        argv = [ENTREPOT, "worker", "--data", str(tmp_path / "worker")]
        until_end.enter_context(started(argv, log=worker_log, env=worker_env))
        balancer = until_end.enter_context(haproxy(tmp_path / "haproxy", nodes))
        with load(balancer.port, journal) as faults:
            for programs in ([[*later, *argv[1:]] for argv in old], old):
                for number in (1, 0):
                    replace_node(balancer, number + 1, nodes[number], programs[number])
                    wanted = journal.operations + 10
                    wait_until(
                        lambda wanted=wanted: faults or journal.operations >= wanted,
                        what="pushes on both",
                    )
        assert faults == []
        assert (known, schema_version(place.catalog)) == (migrate._revisions()[0], "9000")
        for node in nodes:
            assert journal.lost(node.port) == []
        assert nodes[0].fsck()["findings"] == []
        listed = json.loads(nodes[0].admin("nodes", "--json", check=False).stdout)
        assert sorted(node["role"] for node in listed if node["state"] == "alive") == [
            "serve",
            "serve",
            "worker",
        ]
        wait_until(lambda: "gc done" in worker_log.read_text(), what="the worker to collect")
