"""Token server and search of an existing Docker Registry: its tokens come from here, its events go here."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.accounts.conftest import Registry
from tests.support.peers import docker_registry
from tests.support.processes import wait_until
from tests.support.programs import require_program

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def test_its_tokens_come_from_here_and_its_pushes_show_in_search(registry: Registry, tmp_path: Path) -> None:
    skopeo = require_program("skopeo")
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(registry.server.admin("token", "certificates").stdout)
    notify = registry.api("POST", "/robots", {"name": "events"})["secret"]
    url = registry.server.url
    extra = json.dumps(
        {
            "token": {
                "realm": f"{url}/token",
                "service": "docker.test",
                "issuer": "entrepot",
                "rootcertbundle": str(bundle),
            }
        }
    )
    endpoint = json.dumps(
        {
            "name": "entrepot",
            "url": f"{url}/api/v1/upstreams/docker.test/events",
            "headers": {"Authorization": [f"Bearer {notify}"]},
            "timeout": "10s",
            "threshold": 5,
            "backoff": "1s",
        }
    )
    yaml = f"auth: {extra}\nnotifications: {{endpoints: [{endpoint}]}}"
    env = {**os.environ, "HOME": str(tmp_path)}
    with docker_registry(tmp_path, extra=yaml) as peer:

        def copy(name: str, source: str, target: str) -> int:
            creds = f"{name}:{registry.secrets[name]}"
            argv = [skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"]
            argv += ["--src-creds", creds, "--dest-creds", creds, source, target]
            return subprocess.run(argv, env=env, capture_output=True, check=False, timeout=120).returncode

        ours, theirs = f"docker://{registry.host}/acme/app:v1", f"docker://{peer.host}/acme/legacy:v1"
        assert copy("pia", ours, theirs) != 0
        assert copy("olga", ours, theirs) == 0
        assert copy("pia", theirs, f"oci:{tmp_path}/pulled:v1") == 0
        assert copy("sam", theirs, f"oci:{tmp_path}/refused:v1") != 0

        def shown() -> bool:
            found = registry.api("GET", "/search?q=legacy", who="pia")
            return [(f["name"], f["registry"]) for f in found] == [("acme/legacy", "docker.test")]

        wait_until(shown, what="the push to show in search", timeout_s=90)
