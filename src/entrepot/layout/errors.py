"""What can be wrong with an image layout."""

from __future__ import annotations

from entrepot.errors import Conflict, InvalidInput


class InvalidLayout(InvalidInput):
    """Not an image layout, or one whose files can't be read as what they should be."""

    code = "invalid-layout"


class AmbiguousName(Conflict):
    """Several images answer to the name, or none was named and there are several."""

    code = "ambiguous-name"
