"""Tables, sizes and ages as docker prints them."""

import pytest

from entrepot.cli.output import Column, Listing, ellipsis, human_duration, human_size, render_listing, table
from entrepot.cli.templates import TemplateError

LISTING = Listing(
    columns=(Column("ID", "IMAGE ID"), Column("Repository", "REPOSITORY"), Column("Tag", "TAG")),
    shown=("Repository", "Tag", "ID"),
    json_names=("ID", "Repository", "Tag"),
    quiet="ID",
    kind="formatter.imageContext",
)
ROWS = [
    {"ID": "69858b804a2e", "Repository": "bb", "Tag": "<none>"},
    {"ID": "461a77690c0a", "Repository": "127.0.0.1:5104/g28/bb", "Tag": "1.15"},
]


def test_table_columns_are_three_apart_and_ten_wide() -> None:
    assert render_listing(LISTING, ROWS) == (
        "REPOSITORY              TAG       IMAGE ID\n"
        "bb                      <none>    69858b804a2e\n"
        "127.0.0.1:5104/g28/bb   1.15      461a77690c0a\n"
    )


def test_empty_table_has_its_heading() -> None:
    assert render_listing(LISTING, []) == "REPOSITORY   TAG       IMAGE ID\n"


def test_json_is_one_object_a_line_with_angle_brackets_escaped() -> None:
    lines = render_listing(LISTING, ROWS[:1], format_="json")
    assert lines == '{"ID":"69858b804a2e","Repository":"bb","Tag":"\\u003cnone\\u003e"}\n'


def test_template_fills_a_line_each() -> None:
    assert render_listing(LISTING, ROWS, format_="{{.ID}}\\t{{.Tag}}") == (
        "69858b804a2e\t<none>\n461a77690c0a\t1.15\n"
    )


def test_table_template_has_headings() -> None:
    assert render_listing(LISTING, ROWS[:1], format_="table {{.Tag}}\\t{{.ID}}") == (
        "TAG       IMAGE ID\n<none>    69858b804a2e\n"
    )


def test_quiet_prints_ids_only() -> None:
    assert render_listing(LISTING, ROWS, quiet=True) == "69858b804a2e\n461a77690c0a\n"


def test_unknown_field_is_said_in_dockers_words() -> None:
    with pytest.raises(TemplateError, match=r"can't evaluate field Nope in type \*formatter.imageContext"):
        render_listing(LISTING, ROWS, format_="{{.Nope}}")


def test_table_keeps_trailing_cells_as_they_are() -> None:
    assert table(["A", "B"], [["x", "y "]]) == "A         B\nx         y \n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (6, "6B"), (11, "11B"), (999, "999B"), (1000, "1kB"), (20480, "20.5kB"), (1982305, "1.98MB"),
     (1_000_000_000, "1GB"), (123_456_789, "123MB")],
)  # fmt: skip
def test_size_has_three_digits(count: int, text: str) -> None:
    assert human_size(count) == text


def test_size_with_four_digits() -> None:
    assert human_size(1982305, 4) == "1.982MB"


HOUR, DAY = 3600, 24 * 3600


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "Less than a second"), (1.9, "1 second"), (59, "59 seconds"), (60, "About a minute"),
     (119, "About a minute"), (120, "2 minutes"), (59 * 60, "59 minutes"), (HOUR, "About an hour"),
     (1.4 * HOUR, "About an hour"), (1.6 * HOUR, "2 hours"), (47 * HOUR, "47 hours"), (48 * HOUR, "2 days"),
     (13 * DAY, "13 days"), (14 * DAY, "2 weeks"), (59 * DAY, "8 weeks"), (60 * DAY, "2 months"),
     (729 * DAY, "24 months"), (730 * DAY, "2 years")],
)  # fmt: skip
def test_age_is_in_one_unit(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_ellipsis_counts_itself() -> None:
    assert ellipsis("a" * 45, 45) == "a" * 45
    assert ellipsis("a" * 46, 45) == "a" * 44 + "…"
