"""Logs tell events, keep secrets, and can't be forged (L1)."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.observability.logs import JsonFormatter, PlainFormatter, configure_logs, get_log

CANARY = "c4n4ry-s3cr3t"
NASTY = "a\r\nERROR forged\x1b[2J\x1b]0;t\x07\x9b31m\u2028\u202e\x00\x7f"
log = get_log("entrepot.test")


@pytest.fixture(params=["json", "plain"])
def stream(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    written = io.StringIO()
    root, level, raising = logging.getLogger(), logging.getLogger("entrepot").level, logging.raiseExceptions
    handler = configure_logs(level="debug", log_format=request.param, stream=written)
    yield written
    root.removeHandler(handler)
    logging.getLogger("entrepot").setLevel(level)
    logging.raiseExceptions = raising


def visible_only(text: str) -> bool:
    return all(character.isprintable() for character in text)


def test_l1_control_characters_from_outside_are_escaped(stream: io.StringIO) -> None:
    log.info("request", agent=NASTY, path=[NASTY], headers={"user-agent": NASTY}, **{NASTY: 1})
    log.info(NASTY)
    lines = stream.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 2
    assert all(visible_only(line) for line in lines)


SECRETS = [
    {"url": f"https://user:{CANARY}@host/v2/"},
    {"url": f"https://host/x?token={CANARY}&n=1"},
    {"url": f"https://s3/x?X-Amz-Signature={CANARY}"},
    {"headers": {"Authorization": f"Bearer {CANARY}"}},
    {"headers": {"Cookie": f"a={CANARY}"}},
    {"header": f"Authorization: Basic {CANARY}"},
    {"header": f"Bearer {CANARY}"},
    {"password": CANARY},
    {"refresh_token": CANARY},
    {"client_secret": [CANARY]},
    {"nested": {"deep": {"identitytoken": CANARY}}},
    {"body": json.dumps({"access_token": CANARY})},
    {"form": f"grant_type=password&password={CANARY}"},
]


@pytest.mark.parametrize("fields", SECRETS, ids=lambda fields: next(iter(fields)))
def test_l1_secrets_never_reach_the_log(stream: io.StringIO, fields: dict[str, object]) -> None:
    log.info("request", **fields)
    log.info(f"request {next(iter(fields.values()))}" if "url" in fields else "request")
    assert "request" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_l1_traces_keep_secrets_too(stream: io.StringIO) -> None:
    try:
        raise ValueError(f"https://u:{CANARY}@host refused 'Authorization: Bearer {CANARY}'")
    except ValueError:
        log.exception("failed")
    assert "ValueError" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_levels_below_the_chosen_one_are_silent(stream: io.StringIO) -> None:
    configure_logs(level="warning", stream=stream)
    log.info("quiet")
    logging.getLogger("other.package").info("quiet")
    assert stream.getvalue() == ""
    log.error("heard")
    assert "heard" in stream.getvalue()


def test_json_lines_hold_types_and_own_fields_can_not_be_faked() -> None:
    record = logging.LogRecord("entrepot.x", logging.INFO, "", 0, "blob stored", (), None)
    record.fields = {"size": 3, "ok": True, "level": "fake", "digest": object, "none": None}
    line = json.loads(JsonFormatter().format(record))
    assert (line["event"], line["level"], line["logger"]) == ("blob stored", "info", "entrepot.x")
    assert (line["size"], line["ok"], line["none"], line["level_"]) == (3, True, None, "fake")
    assert line["time"].endswith("Z")


def test_plain_lines_quote_where_it_is_needed() -> None:
    record = logging.LogRecord("entrepot.x", logging.INFO, "", 0, "pulled", (), None)
    record.fields = {"name": "a b", "n": 1, "empty": ""}
    assert PlainFormatter().format(record).endswith('INFO pulled name="a b" n=1 empty=""')


@given(st.text(), st.text(), st.text())
def test_any_text_makes_one_visible_line(event: str, name: str, value: str) -> None:
    record = logging.LogRecord("entrepot", logging.INFO, "", 0, "%s", (event,), None)
    record.fields = {name: value}
    for formatter in (JsonFormatter(), PlainFormatter()):
        line = formatter.format(record)
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
        line.encode()
    json.loads(JsonFormatter().format(record))
