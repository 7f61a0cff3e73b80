"""What a registry lists and nests has an end, whatever it says."""

from pathlib import Path

import msgspec
import pytest

from entrepot.actions.pull import pull
from entrepot.client.errors import AnswerTooLarge
from entrepot.client.settings import ClientSettings
from entrepot.content.errors import GraphTooDeep
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index, build_manifest
from entrepot.oci.platform import Platform
from tests.integration.client.conftest import repository_of
from tests.support.lying_registry import Reply, Request, lying_registry

IMAGE = build_manifest(Descriptor(mediatype.OCI_CONFIG, Digest.of(b"{}"), 2), []).descriptor()


def test_m5_a_pull_follows_indexes_of_one_platform_only_so_deep(
    tmp_path: Path, settings: ClientSettings
) -> None:
    platform = Platform("linux", "amd64")
    levels = [IMAGE]
    manifests: dict[str, bytes] = {}
    for level in range(30):
        index = build_index(
            [msgspec.structs.replace(levels[-1], platform=platform)], annotations={"level": str(level)}
        )
        levels.append(index.descriptor())
        manifests[f"/manifests/{levels[-1].digest}"] = manifests["/manifests/1"] = index.raw

    def script(request: Request) -> Reply:
        found = next((raw for path, raw in manifests.items() if request.path.endswith(path)), None)
        return Reply(200, {"Content-Type": mediatype.OCI_INDEX}, found) if found else Reply(200)

    with lying_registry(script) as registry:
        with pytest.raises(GraphTooDeep, match="nested deeper than 8 indexes"):
            pull(f"{registry.host}/app:1", platform="linux/amd64", store=tmp_path, settings=settings)
        fetched = [one for one in registry.requests if one.method == "GET" and "/manifests/" in one.path]
    assert len(fetched) == 9


def test_k4_a_list_of_referrers_has_an_end(settings: ClientSettings) -> None:
    page = build_index([], annotations={f"key{number}": "x" * 60_000 for number in range(60)}).raw

    def script(request: Request) -> Reply:
        at = int(request.query.get("at", ["0"])[0])
        following = f'<{request.path}?at={at + 1}>; rel="next"'
        return Reply(200, {"Content-Type": mediatype.OCI_INDEX, "Link": following}, page)

    with lying_registry(script) as registry:
        with pytest.raises(AnswerTooLarge, match="lists more than 16 MiB of referrers"):
            repository_of(registry, settings).list_referrers(IMAGE.digest)
        assert len([one for one in registry.requests if "/referrers/" in one.path]) == 5
