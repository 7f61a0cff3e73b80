"""What commands print: docker's tables, JSON lines, Go templates, sizes and ages.

Everything goes to stdout as plain text; colour is used only by progress bars.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from entrepot.cli.terminal import cell, escape_json, text_lines

COLUMN_GAP = 3
MIN_COLUMN = 10
"""docker's tables: a column is never narrower than this, gap included."""

NONE = "<none>"


class Column(msgspec.Struct, frozen=True):
    """One field of a listing: its name in templates and its heading in tables."""

    name: str
    heading: str


class Listing(msgspec.Struct, frozen=True):
    """A kind of table: which fields exist, which the plain table shows, what `-q` prints."""

    columns: tuple[Column, ...]
    shown: tuple[str, ...]
    json_names: tuple[str, ...]
    """Fields of `--format json`, in docker's (alphabetical) order."""
    quiet: str
    kind: str = "formatter.context"
    """The type's name in docker's message for an unknown field."""

    def heading(self, name: str) -> str:
        for column in self.columns:
            if column.name == name:
                return column.heading
        return name.upper()


def write(line: str = "") -> None:
    """One line on stdout; foreign text in it is made safe."""
    sys.stdout.write(text_lines(line) + "\n")


def print_error(message: str) -> None:
    """One line on stderr."""
    sys.stdout.flush()
    sys.stderr.write(text_lines(message) + "\n")


def print_listing(
    listing: Listing,
    rows: Iterable[Mapping[str, Any]],
    *,
    format_: str | None = None,
    quiet: bool = False,
    shown: Sequence[str] | None = None,
) -> None:
    """Print rows as `--format`, `-q` or the plain table ask. Raises TemplateError."""
    text = render_listing(listing, rows, format_=format_, quiet=quiet, shown=shown)
    if text:
        sys.stdout.write(text)


def render_listing(
    listing: Listing,
    rows: Iterable[Mapping[str, Any]],
    *,
    format_: str | None = None,
    quiet: bool = False,
    shown: Sequence[str] | None = None,
) -> str:
    """The text of print_listing: lines that each end in a newline."""
    if format_ == "json":
        from entrepot.cli.templates import to_json

        return "".join(to_json({name: row[name] for name in listing.json_names}) + "\n" for row in rows)
    if quiet and format_ in (None, "table"):
        return "".join(f"{cell(str(row[listing.quiet]))}\n" for row in rows)
    if format_ in (None, "", "table"):
        names = list(shown or listing.shown)
        cells = [[cell(str(row[name])) for name in names] for row in rows]
        return table([listing.heading(name) for name in names], cells)
    if format_.startswith("table "):
        return _template_table(listing, rows, format_.removeprefix("table ").strip())
    return _template_lines(listing, rows, unescape_controls(format_))


def unescape_controls(template: str) -> str:
    r"""`\t` and `\n` typed in a shell become what they stand for, as docker has it."""
    return template.replace("\\t", "\t").replace("\\n", "\n")


def _template_lines(listing: Listing, rows: Iterable[Mapping[str, Any]], template: str) -> str:
    fill = _compiled(template)
    return "".join(_filled(listing, fill, row) + "\n" for row in rows)


def _template_table(listing: Listing, rows: Iterable[Mapping[str, Any]], template: str) -> str:
    from entrepot.cli.templates import fields_named_in

    template = unescape_controls(template)
    fill = _compiled(template)
    known = {column.name: column.heading for column in listing.columns}
    headings = {name: known.get(name, name.upper()) for name in fields_named_in(template)} | known
    lines = [_filled(listing, fill, headings)]
    lines += [_filled(listing, fill, row) for row in rows]
    return table(lines[0].split("\t"), [line.split("\t") for line in lines[1:]])


def _compiled(template: str) -> Any:
    """docker's listings leave with 1 where its `inspect` leaves with 64."""
    from entrepot.cli import exitcodes
    from entrepot.cli.templates import UnparsableTemplate, compile_template

    try:
        return compile_template(template)
    except UnparsableTemplate as error:
        error.exit_code = exitcodes.FAILED
        raise


def _filled(listing: Listing, fill: Any, row: Mapping[str, Any]) -> str:
    from entrepot.cli.templates import MissingField, Row, TemplateError

    data = Row(row)
    data.json_names = listing.json_names
    try:
        return str(fill(data))
    except MissingField as error:
        name = error.message.rsplit('"', 2)[-2] if '"' in error.message else ""
        raise TemplateError(
            f'executing "" at <.{name}>: can\'t evaluate field {name} in type *{listing.kind}'
        ) from error


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns three spaces apart, none narrower than ten, the last one left as it is."""
    lines = [list(headings), *[list(row) for row in rows]]
    count = max(len(line) for line in lines)
    widths = [
        max(MIN_COLUMN, max((len(line[at]) for line in lines if at < len(line) - 1), default=0) + COLUMN_GAP)
        for at in range(count)
    ]
    written = []
    for line in lines:
        padded = [text.ljust(widths[at]) for at, text in enumerate(line[:-1])]
        written.append("".join(padded) + line[-1] + "\n")
    return "".join(written)


def indented_json(value: Any) -> str:
    """Four spaces deep, `<`, `>` and `&` escaped: how docker inspects."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value), indent=4).decode()
    return escape_json(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


SIZE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def human_size(count: int, digits: int = 3) -> str:
    """Bytes in units of 1000 with `digits` significant digits: `1.98MB`, `6B`, `20.5kB`."""
    value, unit = float(count), 0
    while value >= 1000.0 and unit < len(SIZE_UNITS) - 1:
        value /= 1000.0
        unit += 1
    return f"{value:.{digits}g}" + SIZE_UNITS[unit]


def since(moment: datetime | None, now: datetime) -> str:
    """`2 weeks ago`, in docker's steps; `N/A` when nobody knows."""
    if moment is None:
        return "N/A"
    return f"{human_duration((now - moment).total_seconds())} ago"


def human_duration(seconds: float) -> str:
    """An age in one unit, rounded down: `About a minute`, `47 hours`, `13 days`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    return _hours_and_more(int(seconds / 3600 + 0.5))


def _hours_and_more(hours: int) -> str:
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if hours < 24 * 7 * 2:
        return f"{days} days"
    if hours < 24 * 30 * 2:
        return f"{days // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{days // 30} months"
    return f"{days // 365} years"


def utc_now() -> datetime:
    return datetime.now(UTC)


def ellipsis(text: str, length: int) -> str:
    """`text` cut to `length` characters, the last one `…` when something was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"


def is_terminal(stream: Any = None) -> bool:
    """Whether a person sees this stream (stdout when none is named)."""
    stream = sys.stdout if stream is None else stream
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
