"""Helm charts and ORAS artifacts: content that is no image."""

import subprocess
import sys
from pathlib import Path

import oras.client
import pytest

from tests.integration.clients.proof import manifest, prove
from tests.support.server import RunningServer, clean_env
from tests.support.wire import Wire

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

# Helm's own Go code, in a process of its own: its run time and pytest's forks don't mix.
_HELM = """
import sys, helm_python as helm
from pathlib import Path
folder, remote = Path(sys.argv[1]), sys.argv[2]
helm.Chart.create("chart", folder)
packed = Path(helm.package(folder / "chart", destination=folder))
with helm.RegistryClient(plain_http=True, credentials_file=folder / "credentials.json") as client:
    helm.push(packed, remote, client=client, plain_http=True)
    got = folder / "got"
    got.mkdir()
    helm.pull(f"{remote}/chart", version="0.1.0", client=client, destination=got, plain_http=True)
assert next(got.glob("*.tgz")).read_bytes() == packed.read_bytes()
"""


def test_helm_pushes_and_pulls_a_chart(registry: RunningServer, wire: Wire, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _HELM, str(tmp_path), f"oci://{registry.host}/charts"]
    env = clean_env(HOME=str(tmp_path))
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    prove(wire, "charts/chart", "0.1.0")
    document = manifest(wire, "charts/chart", "0.1.0").json()
    assert document["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"


@pytest.mark.parametrize("chunked", [False, True], ids=["at once", "in chunks"])
def test_oras_pushes_and_pulls_a_file(
    registry: RunningServer, wire: Wire, tmp_path: Path, *, chunked: bool
) -> None:
    file = tmp_path / "report.txt"
    file.write_bytes(b"a line\n" * 1_000)
    client = oras.client.OrasClient(hostname=registry.host, insecure=True)
    target = f"{registry.host}/artifacts/report:{'chunked' if chunked else 'whole'}"
    pushed = client.push(
        target=target,
        files=[f"{file}:text/plain"],
        disable_path_validation=True,
        do_chunked=chunked,
        chunk_size=1_000,
        quiet=True,
    )
    assert pushed.status_code == 201
    tag = target.rpartition(":")[2]
    prove(wire, "artifacts/report", tag)
    got = client.pull(target=target, outdir=str(tmp_path / "got"))
    assert Path(got[0]).read_bytes() == file.read_bytes()
