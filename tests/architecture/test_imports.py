"""No two modules import each other, however long the way round; imports inside of functions and for types
count as well."""

import grimp

KNOWN_CYCLES: list[set[str]] = []
"""To be opened, never to be added to."""


def cycles(graph: grimp.ImportGraph) -> list[set[str]]:
    """Groups of modules each of which leads to every other."""
    reached = {module: graph.find_upstream_modules(module) for module in graph.modules}
    groups = {
        frozenset({module, *(other for other in reached[module] if module in reached[other])})
        for module in graph.modules
    }
    return sorted((set(group) for group in groups if len(group) > 1), key=sorted)


def test_imports_lead_one_way() -> None:
    found = cycles(grimp.build_graph("entrepot", cache_dir=None))
    assert [group for group in found if group not in KNOWN_CYCLES] == []
    assert [group for group in KNOWN_CYCLES if group not in found] == [], "opened: take it from the list"


def test_a_cycle_is_found_and_its_neighbours_are_not_in_it() -> None:
    graph = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")):
        graph.add_import(importer=importer, imported=imported)
    assert cycles(graph) == [{"b", "c"}]
