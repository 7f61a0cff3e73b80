"""Progress as plain lines, bars and JSON, from the same events."""

import io
import json
import re

import pytest

from entrepot.actions.events import (
    ContentPulled,
    LayerPlanned,
    LayersNamed,
    PullStarted,
    PushStarted,
    TagPushed,
)
from entrepot.cli.progress import PULL, PUSH, BarReporter, JsonReporter, PlainReporter, reporter
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference
from entrepot.transfer.progress import (
    BlobDone,
    BlobExists,
    BlobInterrupted,
    BlobMounted,
    BlobProgress,
    BlobStarted,
    BlobWaiting,
    Role,
)

LAYERS = [Descriptor(mediatype.OCI_LAYER_GZIP, Digest.of(bytes([n])), 1000) for n in range(3)]
CONFIG = Descriptor(mediatype.OCI_CONFIG, Digest.of(b"config"), 10)
A, B, C = (layer.digest.short for layer in LAYERS)
REFERENCE = Reference.parse("localhost:5000/team/app:1")


def test_pulled_layers_complete_from_the_bottom() -> None:
    out = io.StringIO()
    with PlainReporter(out, PULL) as report:
        report(PullStarted("1", "team/app"))
        for layer in LAYERS:
            report(LayerPlanned(layer, exists=layer is LAYERS[1]))
        for layer in [CONFIG, *LAYERS]:
            report(BlobWaiting(layer, Role.CONFIG if layer is CONFIG else Role.LAYER))
        report(BlobDone(CONFIG, Role.CONFIG))
        report(BlobStarted(LAYERS[2], Role.LAYER, 0))
        report(BlobExists(LAYERS[1], Role.LAYER))
        report(BlobProgress(LAYERS[2], Role.LAYER, 500))
        report(BlobInterrupted(LAYERS[2], Role.LAYER, "cut", 500, 2.0))
        report(BlobDone(LAYERS[2], Role.LAYER))
        report(BlobDone(LAYERS[0], Role.LAYER))
        report(ContentPulled(REFERENCE, CONFIG.digest))
    assert out.getvalue().splitlines() == [
        "1: Pulling from team/app",
        f"{A}: Pulling fs layer", f"{B}: Already exists", f"{C}: Pulling fs layer",
        f"{C}: Retrying in 2 seconds", f"{C}: Verifying Checksum", f"{C}: Download complete",
        f"{A}: Verifying Checksum", f"{A}: Download complete", f"{A}: Pull complete", f"{C}: Pull complete",
        f"Digest: {CONFIG.digest}",
    ]  # fmt: skip


def push_events() -> list[object]:
    diff_ids = {layer.digest: Digest.of(b"diff" + bytes([n])) for n, layer in enumerate(LAYERS)}
    return [
        PushStarted(REFERENCE),
        LayersNamed(diff_ids),
        *(BlobWaiting(layer, Role.LAYER) for layer in LAYERS),
        BlobExists(LAYERS[0], Role.LAYER),
        BlobMounted(LAYERS[1], Role.LAYER, "team/base"),
        BlobStarted(LAYERS[2], Role.LAYER, 0),
        BlobProgress(LAYERS[2], Role.LAYER, 400),
        BlobDone(LAYERS[2], Role.LAYER),
        TagPushed(REFERENCE, CONFIG.digest, 527),
    ]


def test_pushed_layers_are_named_by_their_diff_ids_top_first() -> None:
    out = io.StringIO()
    with PlainReporter(out, PUSH) as report:
        for event in push_events():
            report(event)  # type: ignore[arg-type]
    one, two, three = (Digest.of(b"diff" + bytes([n])).short for n in range(3))
    assert out.getvalue().splitlines() == [
        "The push refers to repository [localhost:5000/team/app]",
        f"{three}: Preparing", f"{two}: Preparing", f"{one}: Preparing",
        f"{one}: Layer already exists", f"{two}: Mounted from team/base", f"{three}: Pushed",
        f"1: digest: {CONFIG.digest} size: 527",
    ]  # fmt: skip


def test_json_has_bytes_while_they_move() -> None:
    out = io.StringIO()
    with JsonReporter(out, PUSH) as report:
        for event in push_events():
            report(event)  # type: ignore[arg-type]
    documents = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {"aux": {"Tag": "1", "Digest": str(CONFIG.digest), "Size": 527}} in documents
    moving = [one for one in documents if one.get("status") == "Pushing"]
    assert moving[0]["progressDetail"]["total"] == 1000


def test_bars_show_bytes_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    now = [0.0]
    out = io.StringIO()
    with BarReporter(out, PULL, clock=lambda: now[0]) as report:
        report(LayerPlanned(LAYERS[0], exists=False))
        report(BlobStarted(LAYERS[0], Role.LAYER, 0))
        now[0] = 1.0
        report(BlobProgress(LAYERS[0], Role.LAYER, 250))
        now[0] = 4.0
        report(BlobDone(LAYERS[0], Role.LAYER))
    drawn = [re.sub(r"\x1b\[[0-9]*[AK]", "", line).strip("\r") for line in out.getvalue().split("\n")]
    assert f"{A}: Downloading [=======>                      ] 250B/1kB  250B/s  3s left" in drawn
    assert drawn[-2] == f"{A}: Pull complete"
    assert "\x1b[3" not in out.getvalue()


def test_more_layers_than_lines_leave_the_busy_ones_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "6")
    monkeypatch.setenv("COLUMNS", "80")
    out = io.StringIO()
    layers = [Descriptor(mediatype.OCI_LAYER_GZIP, Digest.of(b"many" + bytes([n])), 1000) for n in range(20)]
    with BarReporter(out, PULL, clock=lambda: 0.0) as report:
        for number, layer in enumerate(layers):
            report(LayerPlanned(layer, exists=number < 18))
    last = out.getvalue().rsplit("\x1b[", 5)
    assert "… and 17 more layers" in out.getvalue()
    assert any(layers[19].digest.short in line for line in last)


def test_mode_is_chosen_by_where_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert type(reporter("auto", PULL, stream=Terminal())) is BarReporter
    assert type(reporter("auto", PULL, stream=io.StringIO())) is PlainReporter
    assert type(reporter("plain", PULL, stream=Terminal())) is PlainReporter
    monkeypatch.setenv("TERM", "dumb")
    assert type(reporter("auto", PULL, stream=Terminal())) is PlainReporter
