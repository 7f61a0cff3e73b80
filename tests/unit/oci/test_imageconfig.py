"""Image configs are read whatever wrote them, and changed without losing a field."""

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import HistoryEntry, ImageConfig, InvalidImageConfig, chain_ids
from entrepot.oci.platform import Platform

A, B, C = (Digest.of(name) for name in (b"a", b"b", b"c"))
DOCUMENT: dict[str, Any] = {
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "created": "2024-01-01T00:00:00Z",
    "author": "somebody",
    "config": {
        "Env": ["PATH=/bin"],
        "Cmd": ["sh"],
        "Entrypoint": None,
        "WorkingDir": "/srv",
        "User": "1000",
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
        "OnBuild": ["RUN x"],
        "Shell": ["/bin/sh", "-c"],
        "Unknown": {"kept": [1]},
    },
    "rootfs": {"type": "layers", "diff_ids": [str(A), str(B)]},
    "history": [
        {"created": "2024-01-01T00:00:00Z", "created_by": "x"},
        {"comment": "y", "empty_layer": True},
    ],
    "moby.buildkit.buildinfo.v1": "kept",
}


def parse(document: object) -> ImageConfig:
    return ImageConfig.parse(json.dumps(document).encode())


def test_every_field_is_read() -> None:
    config = parse(DOCUMENT)
    assert config.raw == json.dumps(DOCUMENT).encode()
    assert config.digest == Digest.of(config.raw)
    assert config.platform == Platform("linux", "arm64", "v8")
    assert (config.created, config.author) == ("2024-01-01T00:00:00Z", "somebody")
    assert (config.env, config.cmd, config.entrypoint) == (("PATH=/bin",), ("sh",), None)
    assert (config.working_dir, config.user, config.stop_signal) == ("/srv", "1000", "SIGQUIT")
    assert (dict(config.labels), config.exposed_ports, config.volumes) == (
        {"a": "b"},
        ("80/tcp",),
        ("/data",),
    )
    assert (config.onbuild, config.shell) == (("RUN x",), ("/bin/sh", "-c"))
    assert config.healthcheck is not None
    assert config.healthcheck["Interval"] == 1_000_000_000
    assert config.diff_ids == (A, B)
    assert config.history[1] == HistoryEntry(comment="y", empty_layer=True)


@pytest.mark.parametrize("document", [{}, {"config": None, "rootfs": None, "history": None}, {"rootfs": {}}])
def test_missing_parts_are_empty(document: dict[str, Any]) -> None:
    config = parse(document)
    assert (config.diff_ids, config.history, config.env, config.cmd) == ((), (), (), None)
    assert config.created is None


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"os": 1},
        {"config": [1]},
        {"config": {"Env": "x"}},
        {"config": {"Cmd": [1]}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"User": {"a": 1}}},
        {"rootfs": {"diff_ids": ["sha256:../../x"]}},
        {"rootfs": {"diff_ids": "x"}},
        {"history": [1]},
        {"history": [{"created_by": 1}]},
        {"Rootfs": {}},
    ],
)
def test_wrong_types_are_refused(document: object) -> None:
    with pytest.raises(InvalidImageConfig):
        parse(document)


def test_changes_keep_what_they_do_not_name() -> None:
    changed = parse(DOCUMENT).with_changes(
        runtime={"Cmd": ["bash"], "User": None},
        diff_ids=[A, B, C],
        history=[HistoryEntry(created_by="z")],
        created="2025-01-01T00:00:00Z",
        author="other",
        platform=Platform("linux", "amd64"),
        extra={"docker_version": "x"},
    )
    document = json.loads(changed.raw)
    kept = {key: value for key, value in DOCUMENT["config"].items() if key != "User"}
    assert document["config"] == kept | {"Cmd": ["bash"]}
    assert document["moby.buildkit.buildinfo.v1"] == "kept"
    assert (changed.diff_ids, changed.platform, changed.author) == (
        (A, B, C),
        Platform("linux", "amd64"),
        "other",
    )
    assert document["history"] == [{"created_by": "z"}]
    assert document["docker_version"] == "x"


def test_the_parsed_document_can_not_be_changed_from_outside() -> None:
    config = parse(DOCUMENT)
    config.document["os"] = "plan9"
    assert config.platform.os == "linux"
    with pytest.raises(TypeError):
        config.labels["x"] = "y"  # type: ignore[index]


def test_chain_ids_name_stacks_of_layers() -> None:
    second = Digest("sha256", hashlib.sha256(f"{A} {B}".encode()).hexdigest())
    third = Digest("sha256", hashlib.sha256(f"{second} {C}".encode()).hexdigest())
    assert chain_ids([A, B, C]) == (A, second, third)
    assert chain_ids([]) == ()


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(InvalidImageConfig):
        ImageConfig.parse(raw)
