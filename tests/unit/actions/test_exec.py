"""`exec -t` where there is no terminal to lend."""

import pytest

from entrepot.actions.exec import with_returns


@pytest.mark.parametrize(
    ("data", "before", "shown"),
    [
        (b"a\nb\n", b"", b"a\r\nb\r\n"),
        (b"a\r\nb\r\n", b"", b"a\r\nb\r\n"),
        (b"\n", b"\r", b"\n"),
        (b"\n", b"\n", b"\r\n"),
        (b"\nb", b"a", b"\r\nb"),
        (b"", b"\n", b""),
    ],
    ids=["alone", "with-returns", "return-came-before", "empty-line", "text-came-before", "nothing"],
)
def test_lines_on_a_terminal_end_with_one_return(data: bytes, before: bytes, shown: bytes) -> None:
    assert with_returns(data, before) == shown
