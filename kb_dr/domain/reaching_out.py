"""What loading a dump would fetch from other servers."""

from collections.abc import Mapping

from kb_dr.domain.dump_contents import ContentsEntry, DumpContents

_FILLED = "MATERIALIZED VIEW DATA"
_FOREIGN = "FOREIGN TABLE"


def reaching_out(contents: DumpContents) -> tuple[ContentsEntry, ...]:
    """The materialized views whose filling reads a foreign table, by however many views.

    A scratch cluster speaks to nobody: they are left empty there. One that calls dblink from within
    a function is not told apart.
    """
    known = {each.id: each for each in contents.entries}
    at_home: set[int] = set()
    return tuple(
        each
        for each in contents.entries
        if each.kind == _FILLED and _reads_foreign(each, known, at_home)
    )


def _reads_foreign(
    entry: ContentsEntry, known: Mapping[int, ContentsEntry], at_home: set[int]
) -> bool:
    """Whether one entry depends on a foreign table; ``at_home`` are those known not to."""
    waiting, seen = [entry.id], set[int]()
    while waiting:
        number = waiting.pop()
        if number in seen or number in at_home:
            continue
        seen.add(number)
        found = known.get(number)
        if found is None:
            continue
        if found.kind == _FOREIGN:
            return True
        waiting += found.depends_on
    at_home |= seen
    return False
