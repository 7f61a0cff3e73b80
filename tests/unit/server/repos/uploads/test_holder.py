"""Claims name their process, so that what a dead one held is free at once."""

import subprocess
import sys

from entrepot.server.repos.uploads.holder import is_dead, new_claim


def test_a_living_process_holds_its_claims() -> None:
    one, two = new_claim(), new_claim()
    assert one != two
    assert not is_dead(one)
    assert not is_dead(two)


def test_a_process_that_ended_holds_nothing() -> None:
    code = "from entrepot.server.repos.uploads.holder import new_claim; print(new_claim())"
    claim = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert is_dead(claim.strip())


def test_a_process_id_used_again_is_another_process() -> None:
    boot, namespace, pid, started, token = new_claim().split("/")
    assert is_dead(f"{boot}/{namespace}/{pid}/{int(started) - 1}/{token}")


def test_of_other_machines_nothing_is_known() -> None:
    boot, namespace, _, started, token = new_claim().split("/")
    gone = "999999999"
    assert not is_dead(f"another-boot/{namespace}/{gone}/{started}/{token}")
    assert not is_dead(f"{boot}/another-namespace/{gone}/{started}/{token}")
    assert is_dead(f"{boot}/{namespace}/{gone}/{started}/{token}")
