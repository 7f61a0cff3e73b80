"""U10: the sizes of parts and the chain of segments, where a real store would need gigabytes to tell."""

import random

import pytest

from entrepot.server.storage.objects import (
    LEAST_PART_BYTES,
    MAX_PARTS,
    PART_BYTES,
    Segment,
    _chain,
    part_size,
)

MIB, GIB = 1024**2, 1024**3


@pytest.mark.parametrize("largest", [0, 1, 5 * MIB, 64 * GIB, 80 * GIB, 100 * GIB, 5000 * GIB])
@pytest.mark.parametrize("wanted", [1, 5 * MIB, 8 * MIB, 100 * MIB])
def test_every_blob_fits_into_parts_that_stores_take(largest: int, wanted: int) -> None:
    size = part_size(largest, wanted)
    assert size >= LEAST_PART_BYTES == 5 * MIB
    assert size >= wanted
    assert size <= 5 * GIB
    assert -(-largest // size) <= MAX_PARTS == 10_000


def test_default_parts_are_enough_for_the_default_limit() -> None:
    assert part_size(64 * GIB) == PART_BYTES
    assert part_size(64 * GIB, 5 * MIB) * MAX_PARTS >= 64 * GIB


def test_a_layer_of_ten_thousand_and_one_segments_is_one_chain() -> None:
    """As a client sends it that splits a layer of more than 10 GB into pieces of 1 MiB."""
    segments = [Segment(f"k{number}", number * MIB, MIB) for number in range(10_001)]
    random.Random(1).shuffle(segments)
    chain = _chain(tuple(segments), 10_001 * MIB)
    assert chain is not None
    assert [segment.start for segment in chain] == [number * MIB for number in range(10_001)]
    assert _chain(tuple(segments), 10_001 * MIB + 1) is None
    assert _chain(tuple(segments[1:]), 10_001 * MIB) is None


def test_of_segments_sent_again_those_that_lead_to_the_end_are_taken() -> None:
    lost = Segment("a-lost", 4, 11)
    again = [Segment("b", 4, 3), Segment("c", 7, 2)]
    start = Segment("z", 0, 4)
    assert _chain((start, lost, *again), 9) == (start, *again)
    assert _chain((start, lost, *again), 15) == (start, lost)
    assert _chain((start, lost, *again), 4) == (start,)
    assert _chain((), 0) == ()
