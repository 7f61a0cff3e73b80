from hypothesis import given
from hypothesis import strategies as st

from entrepot.client.auth import Grants

NAMES = st.sampled_from(["a", "team/app", "host:5000/x"])
ACTIONS = st.lists(st.sampled_from(["pull", "push", "delete", "*"]), min_size=1, unique=True)
SCOPES = st.lists(st.builds(lambda name, actions: f"repository:{name}:{','.join(actions)}", NAMES, ACTIONS))


@given(SCOPES, SCOPES)
def test_merged_scopes_cover_both(first: list[str], second: list[str]) -> None:
    merged = Grants.parse(first).merged(Grants.parse(second))
    assert merged.covers(Grants.parse(first))
    assert merged.covers(Grants.parse(second))
    assert Grants.parse(merged.scopes()) == merged
    assert len(merged.scopes()) == len({scope.rpartition(":")[0] for scope in first + second})


def test_names_may_hold_colons() -> None:
    assert Grants.parse(["repository:h:5/a:push,pull"]).scopes() == ["repository:h:5/a:pull,push"]
