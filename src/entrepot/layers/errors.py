"""What can be wrong with a layer."""

from entrepot.errors import (
    Conflict,
    EntrepotError,
    InvalidInput,
    LimitExceeded,
    Unavailable,
    VerificationFailed,
)


class InvalidLayer(InvalidInput):
    """The bytes are not a tar stream that every reader understands the same way."""

    code = "invalid-layer"


class UnsafePath(InvalidLayer):
    """A name in the layer would reach outside of the directory it is unpacked into."""

    code = "unsafe-path"


class LayerLimitExceeded(LimitExceeded):
    """The layer is larger, in some measure, than `UnpackLimits` allows."""

    code = "layer-limit-exceeded"


class DiffIdMismatch(VerificationFailed):
    """The uncompressed layer is not the one that the image config promises."""

    code = "diff-id-mismatch"


class FileUnreadable(EntrepotError):
    """A file that was to be copied or packed is there, and its bytes can't be had."""

    code = "file-unreadable"


class DiskFull(Unavailable):
    """The file system has no room left; what was half-written has been removed."""

    code = "disk-full"


class CannotOverwrite(Conflict):
    """A copied directory would take the place of a file, or a file that of a directory."""

    code = "cannot-overwrite"
