from entrepot.server.process.supervisor import LONGEST_BACKOFF_S, STEADY_S, Slot


def waits_of(slot: Slot, *, times: int, lived_s: float = 0.0) -> list[float]:
    waits = []
    for _ in range(times):
        slot.end(100.0, lived_s=lived_s)
        waits.append(slot.start_at - 100.0)
    return waits


def test_the_first_end_is_mended_at_once_and_further_ones_wait_longer() -> None:
    first, second, third, fourth = waits_of(Slot("requests", 0), times=4)
    assert first == 0.0 < second < third < fourth


def test_a_process_that_lived_long_is_replaced_at_once() -> None:
    slot = Slot("requests", 0)
    waits_of(slot, times=5)
    assert waits_of(slot, times=1, lived_s=STEADY_S + 1) == [0.0]


def test_a_process_that_ends_for_days_is_still_replaced() -> None:
    slot = Slot("requests", 0)
    assert waits_of(slot, times=5_000)[-1] == LONGEST_BACKOFF_S
