"""`index.json` as values."""

from hypothesis import given
from hypothesis import strategies as st

from entrepot.images.entries import Entries
from entrepot.layout.index import parse_document, print_document
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest

TARGETS = [Descriptor(mediatype.OCI_MANIFEST, Digest.of(bytes([n])), n + 1) for n in range(4)]
NAMES = [
    "docker.io/library/a:1",
    "docker.io/library/a:2",
    "localhost:5000/b:1",
    f"docker.io/library/a@{TARGETS[0].digest}",
]

changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.sampled_from(NAMES), max_size=3), st.sampled_from(TARGETS)),
        st.tuples(st.just("unname"), st.lists(st.sampled_from(NAMES), max_size=3), st.none()),
        st.tuples(st.just("remove"), st.none(), st.sampled_from(TARGETS)),
    ),
    max_size=12,
)


@given(changes)
def test_names_are_unique_and_targets_stay_until_removed(
    steps: list[tuple[str, list[str] | None, Descriptor | None]],
) -> None:
    entries, expected, present = Entries(), {}, set()
    for what, names, target in steps:
        if what == "add" and target is not None:
            entries = entries.with_names(names or [], target, tagged_at="2024-01-01T00:00:00Z")
            expected.update(dict.fromkeys(names or [], target.digest))
            present.add(target.digest)
        elif what == "unname":
            entries = entries.without_names(names or [])
            for name in names or []:
                expected.pop(name, None)
        elif target is not None:
            entries = entries.without_targets([target.digest])
            expected = {name: digest for name, digest in expected.items() if digest != target.digest}
            present.discard(target.digest)
        entries = entries.tidied(lambda one: one.digest)
        found = [(entry.name, entry.target.digest) for entry in entries if entry.name is not None]
        assert dict(found) == expected
        assert len(found) == len(expected)
        assert set(entries.targets()) == present
        unnamed = [entry.target.digest for entry in entries if entry.name is None]
        assert len(unnamed) == len(set(unnamed))
        assert not set(unnamed) & set(expected.values())
        assert Entries.of(parse_document(print_document(entries.document()))) == entries
