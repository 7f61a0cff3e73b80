"""C1, C2, C5: a registry killed at any moment keeps all that it acknowledged, on SQLite and files."""

import hashlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from entrepot.oci.digest import Digest
from entrepot.server.db import open_catalog
from entrepot.server.repos.blobs import Blobs
from entrepot.server.repos.errors import RangeInvalid, UploadUnknown
from entrepot.server.repos.manifests import Manifests
from entrepot.server.repos.uploads import RepositoryUploads
from entrepot.server.storage.filesystem import filesystem_store
from tests.contract.repos.world import stream

pytestmark = pytest.mark.anyio

_PUSHES = """
import asyncio, sys
from pathlib import Path
from tests.contract.repos.world import ALICE, REPO, config_of, image_manifest, stream
from entrepot.oci.digest import Digest
from entrepot.server.db import open_catalog
from entrepot.server.repos.manifests import Manifests
from entrepot.server.repos.uploads import RepositoryUploads
from entrepot.server.storage.filesystem import filesystem_store

async def client(number, uploads, manifests, start):
    for i in range(10_000):
        layer = f"{start} {number} {i} ".encode() * 5000
        for data in (config_of([layer]), layer):
            upload = await uploads.start(REPO, actor=ALICE)
            print("upload", upload.id, flush=True)
            await uploads.append(REPO, upload.id, stream(data[: len(data) // 2], data[len(data) // 2 :]))
            await uploads.finish(REPO, upload.id, Digest.of(data), actor=ALICE)
            print("blob", Digest.of(data), flush=True)
        raw = image_manifest(layer)
        await manifests.put(REPO, raw=raw, media_type=None, tag=f"t{number}", actor=ALICE)
        print("manifest", Digest.of(raw), flush=True)

async def main():
    catalog, store = open_catalog(sys.argv[1]), filesystem_store(Path(sys.argv[2]))
    uploads, manifests = RepositoryUploads(catalog, store), Manifests(catalog)
    await asyncio.gather(*(client(n, uploads, manifests, sys.argv[3]) for n in range(4)))

asyncio.run(main())
"""


def pushed_until_killed(url: str, blobs: Path, start: int, acknowledgements: int) -> list[tuple[str, str]]:
    """What a process that was killed after so many lines had acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PUSHES, url, str(blobs), str(start)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledgements)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
    # The last line may be cut short; what was not said whole was not acknowledged.
    return [tuple(line.split()) for line in lines if line.endswith("\n")]  # type: ignore[misc]


async def test_what_was_acknowledged_survives_kill_9(sqlite_url: str, tmp_path: Path) -> None:
    blobs_folder, said = tmp_path / "store", []
    for start, acknowledgements in enumerate((1, 9, 40, 77)):
        said += pushed_until_killed(sqlite_url, blobs_folder, start, acknowledgements)
    assert len(said) >= 127
    catalog, store = open_catalog(sqlite_url), filesystem_store(blobs_folder)
    blobs, manifests, uploads = Blobs(catalog, store), Manifests(catalog), RepositoryUploads(catalog, store)
    for kind, name in said:
        if kind == "manifest":
            kept = await manifests.get("team/app", Digest.parse(name))
            assert kept is not None
            assert Digest.of(kept.raw) == Digest.parse(name)
        elif kind == "blob":
            found = await blobs.find("team/app", Digest.parse(name))
            assert found is not None
            hashed = hashlib.sha256()
            async for piece in await blobs.open(found):
                hashed.update(piece)
            assert f"sha256:{hashed.hexdigest()}" == name
        else:
            await goes_on(uploads, name)
    raw = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    assert raw.execute("pragma integrity_check").fetchall() == [("ok",)]
    assert raw.execute("pragma foreign_key_check").fetchall() == []
    assert (
        raw.execute("select count(*) from tag_event").fetchone()
        <= raw.execute("select count(*) from event").fetchone()
    )
    raw.close()
    await catalog.close()
    await store.close()


async def goes_on(uploads: RepositoryUploads, name: str) -> None:
    """An upload can be continued where it is said to end, or it is gone."""
    try:
        at = (await uploads.status("team/app", name)).offset
        try:
            done = await uploads.append("team/app", name, stream(b"more"), expected_start=at)
        except RangeInvalid as told:  # killed between the file's rename and the catalog's commit
            at = told.offset
            done = await uploads.append("team/app", name, stream(b"more"), expected_start=at)
        assert done.offset == at + 4
    except UploadUnknown:
        return
