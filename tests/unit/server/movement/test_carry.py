"""What is decided about a tag that is here already."""

import pytest

from entrepot.server.movement.importers.carry import decide_tag
from entrepot.server.movement.importers.here import TagHere

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.mark.parametrize(
    ("here", "has_past", "reason"),
    [
        (None, False, None),
        (None, True, "it was deleted here"),
        (TagHere(B, "import"), True, ""),
        (TagHere(B, "ann"), True, ""),
        (TagHere(A, "import"), True, None),
        (TagHere(A, "ann"), True, f"it was pushed here by ann since, and stays {A}"),
    ],
)
def test_only_what_an_import_has_put_here_is_moved(
    here: TagHere | None, has_past: bool, reason: str | None
) -> None:
    assert decide_tag(here, B, has_past, "import") == reason
