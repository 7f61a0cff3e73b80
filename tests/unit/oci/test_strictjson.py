"""JSON on which readers could disagree is refused (M2)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.strictjson import InvalidJson, loads

REFUSED = {
    "deep nesting": b"[" * 33 + b"]" * 33,
    "very deep nesting": b"[" * 100_000,
    "deep objects": b'{"a":' * 40 + b"1" + b"}" * 40,
    "many elements": b"[" + b"1," * 50_001 + b"1]",
    "1.4 million empty objects": b"[" + b"{}," * 1_398_100 + b"{}]",
    "five thousand digits": b'{"a":' + b"9" * 5_000 + b"}",
    "more than 64 bits": b'{"a":9223372036854775808}',
    "infinite number": b'{"a":1e999}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "duplicate field": b'{"a":1,"a":2}',
    "duplicate field, escaped": b'{"a":1,"\\u0061":2}',
    "duplicate field, nested": b'{"x":[{"a":1,"a":1}]}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "lone surrogate as a name": b'{"\\udc00":1}',
    "escaped NUL": b'{"a":["\\u0000"]}',
    "raw NUL": b'{"a":"\x00"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "bytes after the value": b"{} {}",
    "no value": b"",
    "not UTF-8": b'{"a":"\xff"}',
    "single quotes": b"{'a':1}",
    "comment": b"{/* */}",
    "unterminated text": b'{"a":"' + b'\\"' * 200_000,
    "quotes in a row": b'"' * 100_001,
}


@pytest.mark.parametrize("name", REFUSED)
def test_disputed_json_is_refused(name: str) -> None:
    with pytest.raises(InvalidJson):
        loads(REFUSED[name])


def test_the_limits_themselves_pass() -> None:
    assert loads(b"[" * 32 + b"]" * 32)
    assert len(loads(b"[" + b"1," * 49_998 + b"1]")) == 49_999


def test_brackets_in_text_are_no_nesting() -> None:
    text = "[{" * 1_000 + '\\"' + "," * 60_000
    assert loads(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.parametrize("raw", [b'"\\\\u0000"', b'"\\ud83d\\ude00"', b'"\\\\ud800"'])
def test_harmless_escapes_pass(raw: bytes) -> None:
    assert loads(raw) == json.loads(raw)


_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=30,
)


@given(_json, st.booleans())
def test_ordinary_json_reads_as_everywhere(value: object, ascii_only: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60) | st.text('{}[]",:\\u0d8e1- ', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        value = loads(raw)
    except InvalidJson:
        return
    assert json.loads(raw) == value
