"""Progress of transfers: docker's plain lines in a pipe, bars on a terminal, JSON lines, or nothing.

A reporter takes events (`actions.events`) one at a time. In a pipe only changes of state are lines, never
byte counts. `vocabulary` is how pull and push name the same things.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from entrepot.cli.output import human_duration, human_size, is_terminal
from entrepot.cli.terminal import text_lines
from entrepot.wording import seconds

if TYPE_CHECKING:
    from entrepot.actions.events import ActionEvent
    from entrepot.oci.digest import Digest

FRAMES_PER_S = 12
BAR_WIDTH = 30


class Vocabulary(msgspec.Struct, frozen=True):
    """Words for what happens to a layer."""

    planned: str
    exists: str
    moving: str
    verifying: str | None
    arrived: str | None
    done: str
    newest_first: bool = False
    """Plans are told from the top layer down."""
    slots: int | None = None
    """Layers beyond so many are said to wait; None where nothing is said."""


PULL = Vocabulary(
    "Pulling fs layer",
    "Already exists",
    "Downloading",
    "Verifying Checksum",
    "Download complete",
    "Pull complete",
    slots=4,
)
PUSH = Vocabulary(
    "Preparing", "Layer already exists", "Pushing", None, None, "Pushed", newest_first=True, slots=5
)
COPY = Vocabulary("Waiting", "Already exists", "Copying", None, None, "Copied")
SAVE = Vocabulary("Waiting", "Already exists", "Saving", None, None, "Saved")
LOAD = Vocabulary("Waiting", "Already exists", "Loading layer", None, None, "Loaded")


class Reporter:
    """Takes events. `line` is for what is said between them."""

    def __call__(self, event: ActionEvent) -> None:
        """Something happened."""

    def line(self, text: str, *, status: str | None = None) -> None:
        """A line of the result, in order with the rest."""

    def close(self) -> None:
        """Nothing more comes; leave the terminal tidy."""

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def reporter(
    mode: str, vocabulary: Vocabulary, *, quiet: bool = False, stream: TextIO | None = None
) -> Reporter:
    """For `--progress MODE` and `-q`; `auto` is bars on a terminal and plain lines elsewhere."""
    out = sys.stdout if stream is None else stream
    if quiet:
        return Reporter()
    if mode == "none":
        return SilentReporter(out)
    if mode == "json":
        return JsonReporter(out, vocabulary)
    if mode == "bars" or (mode == "auto" and is_terminal(out) and os.environ.get("TERM") != "dumb"):
        return BarReporter(out, vocabulary)
    return PlainReporter(out, vocabulary)


class SilentReporter(Reporter):
    """Results without progress."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def line(self, text: str, *, status: str | None = None) -> None:  # noqa: ARG002 - the JSON reporter's
        self._out.write(text_lines(text) + "\n")


class LayerReporter(Reporter):
    """What the reporters that tell of layers share: which events matter, and what a layer is called."""

    def __init__(self, out: TextIO, vocabulary: Vocabulary) -> None:
        self._out = out
        self._words = vocabulary
        self._names: dict[Digest, Digest] = {}
        self._planned: list[Any] = []
        self._known: set[Any] = set()

    def __call__(self, event: ActionEvent) -> None:
        from entrepot.actions import events
        from entrepot.transfer import progress as moves

        if isinstance(event, moves.BlobEvent):
            if event.role is not moves.Role.CONFIG:
                self._blob(event)
        elif isinstance(event, events.LayerPlanned):
            self._known.add(event.layer.digest)
            self.planned(event.layer.digest, exists=event.exists)
        elif isinstance(event, events.LayersNamed):
            self._names.update(event.diff_ids)
        elif isinstance(event, events.LayerCompressing):
            self.moving(event.layer.digest, event.done, event.layer.size, "Compressing")
        elif isinstance(event, events.PullStarted):
            self.started(event.label, f"Pulling from {event.repository}")
        elif isinstance(event, events.ContentPulled):
            self.finish_layers()
            self.line(f"Digest: {event.digest}")
        elif isinstance(event, events.PushStarted):
            self.line(f"The push refers to repository [{event.repository.name}]")
        elif isinstance(event, events.TagPushed):
            self._tag_pushed(event)

    def _tag_pushed(self, event: Any) -> None:
        self.finish_layers()
        tag = event.reference.tag
        if event.existed:
            self.line(f"{tag}: already holds {event.digest}; nothing was pushed")
        else:
            self.line(f"{tag}: digest: {event.digest} size: {event.size}")

    def name(self, digest: Digest) -> str:
        """The twelve digits a layer is known by."""
        return self.shown(digest).short

    def shown(self, digest: Digest) -> Digest:
        """The digest a layer is known by."""
        return self._names.get(digest, digest)

    def _blob(self, event: Any) -> None:
        from entrepot.transfer import progress as moves

        digest = event.descriptor.digest
        if isinstance(event, moves.BlobWaiting):
            if digest not in self._known:
                self._planned.append(digest)
            return
        self._tell_plan()
        if isinstance(event, moves.BlobExists):
            self.exists(digest)
        elif isinstance(event, moves.BlobMounted):
            self.mounted(digest, event.from_repository)
        elif isinstance(event, moves.BlobStarted):
            self.moving(digest, event.offset, event.descriptor.size)
        elif isinstance(event, moves.BlobProgress):
            self.moving(digest, event.done, event.descriptor.size)
        elif isinstance(event, moves.BlobInterrupted):
            self.interrupted(digest, event.delay_s)
        elif isinstance(event, moves.BlobDone):
            self.arrived(digest)

    def _tell_plan(self) -> None:
        planned, self._planned = self._planned, []
        for digest in reversed(planned) if self._words.newest_first else planned:
            self._known.add(digest)
            self.planned(digest, exists=False)

    def close(self) -> None:
        self.finish_layers()

    def started(self, label: str, text: str) -> None:
        self.line(f"{label}: {text}")

    def planned(self, digest: Digest, *, exists: bool) -> None: ...

    def exists(self, digest: Digest) -> None: ...

    def mounted(self, digest: Digest, repository: str) -> None: ...

    def moving(self, digest: Digest, done: int, size: int, text: str = "") -> None: ...

    def interrupted(self, digest: Digest, delay_s: float) -> None: ...

    def arrived(self, digest: Digest) -> None: ...

    def finish_layers(self) -> None: ...


class PlainReporter(LayerReporter):
    """One line a change. A pulled layer is complete when those below it are, as where layers are unpacked."""

    def __init__(self, out: TextIO, vocabulary: Vocabulary) -> None:
        super().__init__(out, vocabulary)
        self._order: list[Digest] = []
        self._here: set[Digest] = set()
        self._queued: list[Digest] = []

    def line(self, text: str, *, status: str | None = None) -> None:  # noqa: ARG002
        self._out.write(text_lines(text) + "\n")
        self._out.flush()

    def say(self, digest: Digest, text: str) -> None:
        self.line(f"{self.name(digest)}: {text}")

    def planned(self, digest: Digest, *, exists: bool) -> None:
        self.say(digest, self._words.exists if exists else self._words.planned)
        if exists:
            return
        self._queued.append(digest)
        if self._words.arrived:
            self._order.append(digest)

    def _tell_plan(self) -> None:
        super()._tell_plan()
        if self._words.slots is not None:
            for digest in self._queued[self._words.slots :]:
                self.say(digest, "Waiting")
        self._queued.clear()

    def exists(self, digest: Digest) -> None:
        if digest in self._order:
            self.arrived(digest)  # another process was quicker
        elif not self._words.arrived:
            self.say(digest, self._words.exists)

    def mounted(self, digest: Digest, repository: str) -> None:
        self.say(digest, f"Mounted from {repository}")

    def interrupted(self, digest: Digest, delay_s: float) -> None:
        self.say(digest, f"Retrying in {seconds(delay_s)}")

    def arrived(self, digest: Digest) -> None:
        if not self._words.arrived:
            self.say(digest, self._words.done)
            return
        if self._words.verifying:
            self.say(digest, self._words.verifying)
        self.say(digest, self._words.arrived)
        self._here.add(digest)
        while self._order and self._order[0] in self._here:
            self.say(self._order.pop(0), self._words.done)

    def finish_layers(self) -> None:
        self._order.clear()
        self._here.clear()
        self._queued.clear()
        self._known.clear()
        self._planned.clear()


class JsonReporter(LayerReporter):
    """One JSON object a line: `{"id","status"}`, with `progressDetail` while bytes move."""

    def __init__(self, out: TextIO, vocabulary: Vocabulary) -> None:
        super().__init__(out, vocabulary)
        self._last: dict[Digest, float] = {}

    def _put(self, document: dict[str, Any]) -> None:
        from entrepot.cli.templates import to_json

        self._out.write(to_json(document) + "\n")
        self._out.flush()

    def line(self, text: str, *, status: str | None = None) -> None:
        self._put({"status": status or text})

    def started(self, label: str, text: str) -> None:
        self._put({"id": label, "status": text})

    def _tag_pushed(self, event: Any) -> None:
        tag = {"Tag": event.reference.tag, "Digest": str(event.digest), "Size": event.size}
        self._put({"aux": tag | ({"Existed": True} if event.existed else {})})
        self.finish_layers()

    def _layer(self, digest: Digest, status: str, **more: Any) -> None:
        self._put({"id": self.name(digest), "status": status, **more})

    def planned(self, digest: Digest, *, exists: bool) -> None:
        self._layer(digest, self._words.exists if exists else self._words.planned)

    def exists(self, digest: Digest) -> None:
        self._layer(digest, self._words.exists)

    def mounted(self, digest: Digest, repository: str) -> None:
        self._layer(digest, f"Mounted from {repository}")

    def interrupted(self, digest: Digest, delay_s: float) -> None:
        self._layer(digest, "Retrying", delay=delay_s)

    def moving(self, digest: Digest, done: int, size: int, text: str = "") -> None:
        now = time.monotonic()
        if now - self._last.get(digest, 0.0) >= 1 / FRAMES_PER_S:
            self._last[digest] = now
            status = text or self._words.moving
            self._layer(digest, status, progressDetail={"current": done, "total": size})

    def arrived(self, digest: Digest) -> None:
        self._layer(digest, self._words.done)

    def finish_layers(self) -> None:
        self._known.clear()
        self._planned.clear()


class _Row(msgspec.Struct):
    """One layer on the screen."""

    name: str
    text: str
    done: int = 0
    size: int = 0
    began: float = 0.0
    began_at: int = 0
    finished: bool = False


class BarReporter(LayerReporter):
    """A line a layer that is drawn over: bar, bytes, speed and the time left."""

    def __init__(
        self, out: TextIO, vocabulary: Vocabulary, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(out, vocabulary)
        self._clock = clock
        self._rows: dict[Digest, _Row] = {}
        self._drawn = 0
        self._last_frame = 0.0
        self._colour = "NO_COLOR" not in os.environ

    def line(self, text: str, *, status: str | None = None) -> None:  # noqa: ARG002
        self.finish_layers()
        self._out.write(text_lines(text) + "\n")
        self._out.flush()

    def planned(self, digest: Digest, *, exists: bool) -> None:
        text = self._words.exists if exists else self._words.planned
        self._rows[self.shown(digest)] = _Row(self.name(digest), text, finished=exists)
        self._draw()

    def exists(self, digest: Digest) -> None:
        self._finish(digest, self._words.exists)

    def mounted(self, digest: Digest, repository: str) -> None:
        self._finish(digest, f"Mounted from {repository}")

    def interrupted(self, digest: Digest, delay_s: float) -> None:
        row = self._row(digest)
        row.text, row.size = f"Retrying in {human_duration(delay_s).lower()}", 0
        self._draw(force=True)

    def moving(self, digest: Digest, done: int, size: int, text: str = "") -> None:
        row, now = self._row(digest), self._clock()
        if not row.size:
            row.began, row.began_at = now, done
        row.text, row.done, row.size = text or self._words.moving, done, size
        self._draw()

    def arrived(self, digest: Digest) -> None:
        self._finish(digest, self._words.done)

    def finish_layers(self) -> None:
        if self._rows:
            self._draw(force=True)
        self._rows.clear()
        self._known.clear()
        self._planned.clear()
        self._drawn = 0

    def _row(self, digest: Digest) -> _Row:
        shown = self.shown(digest)
        if shown not in self._rows:
            self._rows[shown] = _Row(self.name(digest), self._words.planned)
        return self._rows[shown]

    def _finish(self, digest: Digest, text: str) -> None:
        row = self._row(digest)
        row.text, row.finished, row.size = text, True, 0
        self._draw(force=True)

    def _draw(self, *, force: bool = False) -> None:
        now = self._clock()
        if not force and now - self._last_frame < 1 / FRAMES_PER_S:
            return
        self._last_frame = now
        screen = shutil.get_terminal_size()
        rows = list(self._rows.values())
        room = max(3, screen.lines - 2)
        hidden = max(0, len(rows) - room)
        if hidden:
            # Finished layers go first: what moves stays in sight.
            rows = sorted(rows, key=lambda row: row.finished)[: room - 1]
        lines = [self._text(row, now)[: screen.columns - 1] for row in rows]
        if hidden:
            lines.append(f"… and {len(self._rows) - len(rows)} more layers")
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        painted = [self._paint(line, row) for line, row in zip(lines, [*rows, None], strict=False)]
        self._out.write(up + "".join(f"\x1b[2K\r{line}\n" for line in painted))
        self._out.flush()
        self._drawn = len(lines)

    def _paint(self, line: str, row: _Row | None) -> str:
        if not self._colour or row is None or not row.finished:
            return line
        return f"\x1b[32m{line}\x1b[0m"

    def _text(self, row: _Row, now: float) -> str:
        if not row.size or row.finished:
            return f"{row.name}: {row.text}"
        share = min(1.0, row.done / row.size)
        full = int(share * BAR_WIDTH)
        bar = "=" * full + (">" if full < BAR_WIDTH else "")
        text = (
            f"{row.name}: {row.text} [{bar.ljust(BAR_WIDTH)}] {human_size(row.done)}/{human_size(row.size)}"
        )
        elapsed = now - row.began
        moved = row.done - row.began_at
        if elapsed >= 0.5 and moved > 0:
            speed = moved / elapsed
            text += f"  {human_size(int(speed))}/s  {_left((row.size - row.done) / speed)}"
        return text


def _left(seconds: float) -> str:
    whole = int(seconds + 0.5)
    return f"{whole}s left" if whole < 90 else f"{whole // 60}m{whole % 60:02d}s left"
