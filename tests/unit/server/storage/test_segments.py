"""U10: the chain of segments that is an upload's bytes, where a real store would need gigabytes to tell."""

import random

from entrepot.server.storage.segments import Segment, _chain

MIB = 1024**2


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
