"""`import`: what is taken for a root file system, from where, and what becomes of it."""

import bz2
import gzip
import io
import lzma
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import zstandard

from entrepot.actions.append import append_layer
from entrepot.actions.download import DownloadFailed
from entrepot.actions.errors import FileUnusable
from entrepot.actions.import_ import NotATar, import_
from entrepot.client.settings import ClientSettings
from entrepot.images.store import ImageStore
from entrepot.layers.compression import inflated_chunks
from entrepot.layers.errors import LayerLimitExceeded
from entrepot.layers.limits import UnpackLimits
from entrepot.oci import mediatype
from entrepot.oci.digest import Digest
from tests.support.images import layer_tar

TAR = layer_tar({"bin/x": b"x" * 4000})


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


@pytest.mark.parametrize(
    ("packed", "media_type", "verbatim"),
    [
        (TAR, mediatype.OCI_LAYER_GZIP, False),
        (gzip.compress(TAR), mediatype.OCI_LAYER_GZIP, True),
        (zstandard.compress(TAR), mediatype.OCI_LAYER_ZSTD, True),
        (bz2.compress(TAR), mediatype.OCI_LAYER_GZIP, False),
        (lzma.compress(TAR), mediatype.OCI_LAYER_GZIP, False),
    ],
    ids=["plain", "gzip", "zstd", "bzip2", "xz"],
)
def test_layer_is_the_tar_byte_for_byte(
    store: ImageStore, packed: bytes, media_type: str, verbatim: bool
) -> None:
    image = import_(io.BytesIO(packed), "x:1", store=store)
    assert image.diff_ids == (Digest.of(TAR),)
    (layer,) = store.manifest(image).layers
    assert layer.media_type == media_type
    assert (layer.digest == Digest.of(packed)) == verbatim
    assert image.size == 4000  # of the file


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress], ids=["bzip2", "xz"])
@pytest.mark.parametrize("cut", [1024, 1900], ids=["between entries", "in an entry"])
def test_streams_one_after_another_are_one_tar(
    store: ImageStore, compress: Callable[[bytes], bytes], cut: int
) -> None:
    packed = compress(TAR[:cut]) + compress(b"") + compress(TAR[cut:]) + bytes(512)
    assert import_(io.BytesIO(packed), "x:1", store=store).diff_ids == (Digest.of(TAR),)


def test_limits_count_all_streams_together() -> None:
    limits = UnpackLimits(ratio_floor_bytes=1 << 20, max_ratio=400)
    packed = bz2.compress(bytes(1 << 19))
    assert len(b"".join(inflated_chunks(packed, io.BytesIO(packed * 2), limits))) == 1 << 20
    with pytest.raises(LayerLimitExceeded):
        list(inflated_chunks(packed, io.BytesIO(packed * 3), limits))


@pytest.mark.parametrize(
    "data",
    [b"garbage\n", b"", TAR[:700], gzip.compress(TAR)[:-20], bz2.compress(TAR)[:-5], lzma.compress(TAR)[:-9],
     gzip.compress(b"garbage\n"), bz2.compress(TAR) + b"garbage", lzma.compress(TAR) + b"garbage",
     lzma.compress(TAR) + lzma.compress(TAR)[:40], layer_tar({"../outside": b""})],
    ids=["garbage", "empty", "cut", "cut gzip", "cut bzip2", "cut xz", "garbage in gzip",
         "garbage after bzip2", "garbage after xz", "cut second xz", "leads outside"],
)  # fmt: skip
def test_what_is_no_tar_is_refused_and_leaves_nothing(store: ImageStore, data: bytes) -> None:
    with pytest.raises(NotATar):
        import_(io.BytesIO(data), "x:1", store=store)
    with pytest.raises(NotATar):
        append_layer("scratch", io.BytesIO(data), "x:1", store=store)
    assert list(store.list()) == []
    assert list(store.paths.tmp.iterdir()) == []


def test_a_file_leaves_no_path_of_this_machine_in_the_image(store: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "root.tar"
    path.write_bytes(TAR)
    for source in (path, io.BytesIO(TAR)):
        image = import_(source, store=store)
        assert store.config(image).history[0].comment == "Imported from -"


def test_missing_file_is_named(store: ImageStore) -> None:
    with pytest.raises(FileUnusable, match=r"^open nofile.tar: no such file or directory$"):
        import_("nofile.tar", store=store)


class Files(BaseHTTPRequestHandler):
    """A tar, a way to it, a broken one and a circle."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        if self.path in ("/rootfs.tar", "/cut.tar"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(TAR)))
            self.end_headers()
            self.wfile.write(TAR if self.path == "/rootfs.tar" else TAR[:2000])
            self.close_connection = self.path == "/cut.tar"
            return
        self.send_response(302 if self.path in ("/moved", "/circle") else 404)
        self.send_header("Location", "/rootfs.tar" if self.path == "/moved" else "/circle")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.05), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(30)


@pytest.fixture
def settings(tmp_path: Path) -> ClientSettings:
    return ClientSettings.load({"HOME": str(tmp_path)})


@pytest.mark.parametrize("path", ["/rootfs.tar", "/moved"])
def test_web_address_is_read(store: ImageStore, settings: ClientSettings, address: str, path: str) -> None:
    image = import_(f"{address}{path}", store=store, settings=settings)
    assert image.diff_ids == (Digest.of(TAR),)
    assert store.config(image).history[0].comment == f"Imported from {address}{path}"


@pytest.mark.parametrize(
    ("path", "said"),
    [("/none", "answered 404"), ("/circle", "redirected more than"), ("/cut.tar", "broke off")],
)
def test_web_address_that_gives_no_file_is_told(
    store: ImageStore, settings: ClientSettings, address: str, path: str, said: str
) -> None:
    with pytest.raises(DownloadFailed, match=said):
        import_(f"{address}{path}", store=store, settings=settings)
    assert list(store.list()) == []
