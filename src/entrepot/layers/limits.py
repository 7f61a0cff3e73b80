"""How much of a layer is believed. A layer beyond a limit is refused as a whole and leaves nothing behind."""

from msgspec import Struct

GIB = 1 << 30


class UnpackLimits(Struct, frozen=True):
    """Upper bounds on one layer; the defaults are far above what images in use contain."""

    max_bytes: int = 256 * GIB
    """Uncompressed bytes of the tar stream."""

    max_file_bytes: int = 256 * GIB
    """Apparent size of one file: a sparse file may claim any size without a byte of data."""

    max_sparse_bytes: int = 1024 * GIB
    """Apparent sizes of all sparse files of the layer added up."""

    max_entries: int = 4_000_000
    """Headers of all kinds, long-name and PAX headers included."""

    max_ratio: int = 400
    """Uncompressed bytes per compressed byte, asked once `ratio_floor_bytes` are out: gzip ends at 1028."""

    ratio_floor_bytes: int = 2 * GIB
    """Below this no ratio is refused: an image of zeros compresses well and is small."""

    max_path_bytes: int = 4095
    """PATH_MAX less its NUL; longer names could not be opened by a path anyway."""

    max_name_bytes: int = 255
    """One component of a path, as in every Linux file system."""

    max_depth: int = 256
    """Directories above a file; each is held open while it is walked, and 1024 open files is a usual
    allowance."""

    max_header_bytes: int = 1 << 20
    """One PAX header or GNU long name."""

    max_sparse_segments: int = 1 << 18
    """Segments of one sparse file."""

    max_sparse_map_bytes: int = 1 << 20
    """What tells the segments of one sparse file, in whichever form; at least four bytes for each in any."""

    zstd_window_bytes: int = 128 << 20
    """Memory a zstd frame may ask for (RFC 8878 recommends to support at least 8 MiB)."""


DEFAULT_LIMITS = UnpackLimits()
