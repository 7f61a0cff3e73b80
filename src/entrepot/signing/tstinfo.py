"""What a timestamp claims, read without believing it (RFC 3161 2.4.2).

`rfc3161_client` reads strict DER. Authorities of some private instances write the content as a string
in parts, which is BER: such a timestamp cannot be verified, but its time can be held against the certificate.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from entrepot.signing.errors import UnreadableSignature

_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_TST_INFO = bytes.fromhex("2a864886f70d0109100104")
_INTEGER, _OCTETS, _OID, _SEQUENCE, _TIME = 0x02, 0x04, 0x06, 0x30, 0x18
_CONSTRUCTED_OCTETS, _CONTEXT_0 = 0x24, 0xA0


def claimed_time(response: bytes) -> datetime:
    """Raises UnreadableSignature."""
    try:
        _status, token = list(_inside(response, _SEQUENCE))[:2]
        kind, content = list(_inside(token, _SEQUENCE))[:2]
        if _content(kind, _OID) != _SIGNED_DATA:
            raise ValueError
        signed = next(_inside(content, _CONTEXT_0))
        _version, _algorithms, encapsulated = list(_inside(signed, _SEQUENCE))[:3]
        kind, content = list(_inside(encapsulated, _SEQUENCE))[:2]
        if _content(kind, _OID) != _TST_INFO:
            raise ValueError
        fields = list(_inside(_joined(next(_inside(content, _CONTEXT_0))), _SEQUENCE))
        text = _content(fields[4], _TIME).decode("ascii")
        return datetime.strptime(text.partition(".")[0].rstrip("Z"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except (ValueError, IndexError, StopIteration) as error:
        raise UnreadableSignature("timestamp: it cannot be read") from error


def _joined(element: bytes) -> bytes:
    """An octet string, whole or in parts."""
    if element[0] == _CONSTRUCTED_OCTETS:
        return b"".join(_content(part, _OCTETS) for part in _inside(element, _CONSTRUCTED_OCTETS))
    return _content(element, _OCTETS)


def _content(element: bytes, tag: int) -> bytes:
    if element[0] != tag:
        raise ValueError
    start, end = _bounds(element, 0)
    return element[start:end]


def _inside(element: bytes, tag: int) -> Iterator[bytes]:
    content = _content(element, tag)
    at = 0
    while at < len(content):
        _, end = _bounds(content, at)
        yield content[at:end]
        at = end


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends. Lengths are definite, or it is refused."""
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise ValueError
        length, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + length > len(data):
        raise ValueError
    return start, start + length
