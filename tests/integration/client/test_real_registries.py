"""Against registries people run: passwords, certificates, proxies, and a client that is killed."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrepot.client.credentials import Credential
from entrepot.client.errors import (
    AccessDenied,
    AuthenticationFailed,
    CertificateUntrusted,
    DestinationForbidden,
    RegistryUnreachable,
)
from entrepot.client.registry import PUSH, Registry, open_repository
from entrepot.client.settings import ClientSettings
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes
from entrepot.images.store import ImageStore
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_manifest
from entrepot.oci.reference import Reference
from entrepot.transfer.copy import copy
from tests.support.lying_registry import (
    Reply,
    Request,
    lying_registry,
    quick_settings,
    server_certificate,
)
from tests.support.peers import Peer, docker_registry
from tests.support.processes import end, wait_until
from tests.support.programs import require_program

CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
LAYER = bytes(range(200)) * 15_000


def image() -> MemoryStore:
    store = MemoryStore()
    config = store.add_blob(CONFIG, mediatype.OCI_CONFIG)
    layers = [store.add_blob(LAYER, mediatype.OCI_LAYER_GZIP), store.add_blob(b"", mediatype.OCI_LAYER)]
    store.put_manifest(ManifestBytes.from_manifest(build_manifest(config, layers)), "1")
    return store


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Peer]:
    """A docker-registry that wants the password of `me`."""
    program = require_program("htpasswd")
    line = subprocess.run(
        [program, "-nbB", "me", "secret"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    (tmp_path / "htpasswd").write_text(line)
    extra = f'auth: {{htpasswd: {{realm: r, path: "{tmp_path}/htpasswd"}}}}'
    with docker_registry(tmp_path / "peer", extra=extra) as peer:
        yield peer


def test_basic_passwords_are_checked_and_used(
    guarded: Peer, tmp_path: Path, with_account: Callable[..., ClientSettings]
) -> None:
    nobody = quick_settings(tmp_path)
    registry = Registry(guarded.host, settings=nobody)
    with pytest.raises(AuthenticationFailed, match="401 Unauthorized"):
        registry.check_login(Credential("me", "wrong"))
    assert registry.check_login(Credential("me", "secret")) == Credential("me", "secret")
    with pytest.raises(AccessDenied, match="'entrepot login'"):
        registry.repository("team/app").get_manifest("1")
    somebody = with_account({guarded.host: "me:secret"})
    target = Registry(guarded.host, settings=somebody).repository("team/app", actions=PUSH)
    copy(image(), target, reference="1", to="1")
    assert list(target.list_tags()) == ["1"]
    back = MemoryStore()
    copy(target, back, reference="1", to="1")
    assert back.blobs == image().blobs


@pytest.mark.parametrize("place", ["registries.toml", "certs.d"])
def test_a_registry_with_its_own_authority_is_trusted_when_named(
    place: str, tmp_path: Path, with_account: Callable[..., ClientSettings]
) -> None:
    """The names are not loopback's, so that nothing is lenient; connections go there all the same."""
    context, pem = server_certificate(tmp_path)
    with lying_registry(lambda _: Reply(200, body=b"{}"), context=context) as registry:
        strict = _strictly(quick_settings(tmp_path), registry.host)
        with pytest.raises(CertificateUntrusted, match="certificate not trusted") as caught:
            strict.ping()
        assert "--insecure" in (caught.value.hint or "")
        if place == "registries.toml":
            settings = with_account({}, f'[registry."{registry.host}"]\nca = "{pem}"')
        else:
            import msgspec

            folder = tmp_path / "certs" / registry.host
            folder.mkdir(parents=True)
            (folder / "ca.crt").write_bytes(pem.read_bytes())
            settings = msgspec.structs.replace(
                quick_settings(tmp_path), certificate_directories=(tmp_path / "certs",)
            )
        assert _strictly(settings, registry.host).ping().scheme == "https"


def _strictly(settings: ClientSettings, host: str) -> Registry:
    """A registry without the leniency for this machine."""
    import msgspec

    from entrepot.client.hosts import endpoint_for

    endpoint = endpoint_for(host, settings)
    trust = msgspec.structs.replace(endpoint.trust, verify=True)
    strict = msgspec.structs.replace(endpoint, schemes=("https",), trust=trust)
    return Registry(host, settings=settings, endpoint=strict)


def test_plain_http_where_tls_is_expected_says_so(tmp_path: Path) -> None:
    with (
        lying_registry(lambda _: Reply(200, body=b"{}")) as registry,
        pytest.raises(RegistryUnreachable, match="does not answer in TLS") as caught,
    ):
        _strictly(quick_settings(tmp_path), registry.host).ping()
    assert "plain-http" in (caught.value.hint or "")


def test_proxies_are_used_with_their_password(
    tmp_path: Path, with_account: Callable[..., ClientSettings]
) -> None:
    raw = next(iter(image().manifests.values())).raw

    def script(request: Request) -> Reply:
        body = raw if "/manifests/" in request.target else b"{}"
        return Reply(200, {"Content-Type": mediatype.OCI_MANIFEST}, body)

    with lying_registry(script) as proxy:
        with_account({}, '[registry."reg.example"]\nplain-http = true')
        settings = quick_settings(tmp_path, HTTP_PROXY=f"http://user:p%40ss@{proxy.host}")
        repository = open_repository(Reference.parse("reg.example/team/app"), client=settings)
        assert repository.get_manifest("1").raw == raw
    assert proxy.requests[-1].target == "http://reg.example/v2/team/app/manifests/1"
    assert proxy.requests[-1].headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    assert proxy.requests[-1].authorization is None


def test_public_addresses_only_means_no_connection_to_this_machine(tmp_path: Path) -> None:
    import msgspec

    settings = msgspec.structs.replace(quick_settings(tmp_path), public_addresses_only=True)
    with lying_registry(lambda _: Reply(200)) as registry:
        for host in (registry.host, f"127.0.0.1:{registry.port}", f"[::1]:{registry.port}"):
            with pytest.raises(DestinationForbidden, match="not a public address"):
                Registry(host, settings=settings).ping()
        assert registry.requests == []


def test_mirrors_are_asked_first_and_failures_passed_over(
    with_account: Callable[..., ClientSettings], tmp_path: Path
) -> None:
    store = image()
    raw = store.manifests[store.tags["1"]].raw

    def origin(request: Request) -> Reply:
        if "/manifests/" in request.target:
            return Reply(200, {"Content-Type": mediatype.OCI_MANIFEST}, raw)
        if "/blobs/" in request.target:
            return Reply(200, body=store.blobs[Digest.parse(request.path.rsplit("/", 1)[-1])])
        return Reply(200, body=b"{}")

    def half(request: Request) -> Reply:
        return origin(request) if "/blobs/" not in request.target else Reply(404)

    with lying_registry(origin) as real, lying_registry(half) as mirror, lying_registry(origin) as gone:
        gone.stop()
        mirrors = f'mirrors = ["{gone.host}", "{mirror.host}/prefix"]'
        settings = with_account({}, f'[registry."{real.host}"]\n{mirrors}')
        source = open_repository(Reference.parse(f"{real.host}/team/app"), client=settings)
        target = MemoryStore()
        copy(source, target, reference="1", to="1")
        assert target.blobs == store.blobs
        assert len(mirror.asked("GET", "/v2/prefix/team/app/manifests/1")) == 1
        assert real.asked("GET", "/manifests/") == []
        assert len(real.asked("GET", "/blobs/")) == len(store.blobs)


_PULL = """
import sys, pathlib
from entrepot.client.registry import open_repository
from entrepot.images.sink import StoreSink
from entrepot.images.store import ImageStore
from entrepot.oci.reference import Reference
from entrepot.transfer.copy import copy
from tests.support.lying_registry import quick_settings
reference = Reference.parse(sys.argv[1])
home = pathlib.Path(sys.argv[2])
with StoreSink(ImageStore(home / "store"), reference) as sink:
    copy(open_repository(reference, client=quick_settings(home)), sink, reference="1", to="1")
"""


def test_k6_a_killed_pull_goes_on_from_its_last_byte(tmp_path: Path) -> None:
    """SIGKILL in the middle of a layer; the next run asks for the rest alone and lists a whole image."""
    store = image()
    raw = store.manifests[store.tags["1"]].raw
    big = Digest.of(LAYER)
    sent = threading.Event()
    dead = threading.Event()

    def half_a_layer() -> Iterator[bytes]:
        yield LAYER[:2_000_000]
        sent.set()
        assert dead.wait(120)

    def script(request: Request) -> Reply:
        if "/manifests/" in request.target:
            return Reply(200, {"Content-Type": mediatype.OCI_MANIFEST}, raw)
        if "/blobs/" not in request.target:
            return Reply(200, body=b"{}")
        digest = Digest.parse(request.path.rsplit("/", 1)[-1])
        data = store.blobs[digest]
        if digest == big and not sent.is_set():
            return Reply(200, {"Content-Length": str(len(data))}, half_a_layer())
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        if not start:
            return Reply(200, body=data)
        part = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Reply(206, {"Content-Range": part}, data[start:])

    partials = tmp_path / "store"

    def arrived() -> int:
        return max((path.stat().st_size for path in partials.rglob(f"*{big.hex}*")), default=0)

    with lying_registry(script) as registry:
        reference = f"{registry.host}/team/app:1"
        argv = [sys.executable, "-c", _PULL, reference, str(tmp_path)]
        process = subprocess.Popen(argv, cwd=Path(__file__).parents[3], start_new_session=True)
        try:
            wait_until(
                lambda: sent.is_set() and arrived() >= 100_000, what="a part of the layer to be stored"
            )
            os.kill(process.pid, signal.SIGKILL)
            process.wait(60)
        finally:
            end(process)
            dead.set()
        held = arrived()
        assert ImageStore(tmp_path / "store").list() == []
        again = subprocess.run(argv, cwd=Path(__file__).parents[3], check=False, timeout=120)
        assert again.returncode == 0
        ranges = [one.headers.get("range") for one in registry.asked("GET", str(big))]
    assert ranges == [None, f"bytes={held}-"]
    (kept,) = ImageStore(tmp_path / "store").list()
    assert kept.manifest.digest == store.tags["1"]


def test_an_empty_and_a_large_blob_come_back(tmp_path: Path, settings: ClientSettings) -> None:
    with docker_registry(tmp_path / "peer") as peer:
        repository = Registry(peer.host, settings=settings).repository("a/b", actions=PUSH)
        for data in (b"", b"x", LAYER):
            described = Descriptor(mediatype.OCI_LAYER, Digest.of(data), len(data))
            repository.put_blob(described, io.BytesIO(data))
            with repository.open_blob(described) as stream:
                assert stream.read() == data
