"""Some tables or schemas of a dump: which of its entries have to be loaded for them.

A table comes with its rows and with all that belongs to it; what it needs to be made comes, too.
What would drag in other tables stays out, and is said: a foreign key whose other end is not there
could not hold.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kb_dr.domain.dump_contents import ContentsEntry, DumpContents
from kb_dr.domain.qualified_names import QualifiedName, find_name, shown_name
from kb_dr.errors import ConfigurationError

_TABLES = frozenset({"TABLE", "FOREIGN TABLE"})
_VIEWS = frozenset({"VIEW", "MATERIALIZED VIEW"})
_RELATIONS = _TABLES | _VIEWS
_NAMED = _RELATIONS | {"SEQUENCE"}
"""What may be asked for as a table, as with pg_restore."""

_ALWAYS = frozenset({"ENCODING", "SEARCHPATH", "STDSTRINGS"})

_OF_ANYTHING = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})
_OWNERS = {
    "INDEX": _TABLES | {"MATERIALIZED VIEW"},
    "MATERIALIZED VIEW DATA": frozenset({"MATERIALIZED VIEW"}),
    "ROW SECURITY": _TABLES,
    "SEQUENCE": _TABLES,
    "SEQUENCE OWNED BY": frozenset({"SEQUENCE"}),
    "SEQUENCE SET": frozenset({"SEQUENCE"}),
    "STATISTICS": _TABLES | {"MATERIALIZED VIEW"},
    "STATISTICS DATA": _RELATIONS | {"CONSTRAINT", "INDEX"},
    "TABLE DATA": _TABLES,
}
"""What each belongs to; it depends on one of those alone."""
_TAGGED = frozenset(
    {"CHECK CONSTRAINT", "CONSTRAINT", "DEFAULT", "FK CONSTRAINT", "POLICY", "RULE", "TRIGGER"}
)
"""Those may depend on further tables; theirs is the one their tag begins with."""
_TIES = frozenset({"INDEX ATTACH", "TABLE ATTACH"})
"""Between two that are there for other reasons."""
_BELONGING = _OF_ANYTHING | (_OWNERS.keys() - {"SEQUENCE"}) | _TAGGED | _TIES
_NOBODYS = frozenset({"BLOB", "BLOB METADATA", "BLOBS"})
_OF_THE_DATABASE = frozenset({"PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"})


@dataclass(frozen=True, slots=True)
class Selection:
    """Some of an archive."""

    entries: tuple[int, ...]
    """Dump ids, in the archive's order; whatever one of them depends on is among them."""
    tables: tuple[QualifiedName, ...]
    """Those that come with their rows, in the archive's order."""
    notes: tuple[str, ...]
    """What comes or stays out though nobody said so, for people."""


def select_entries(
    contents: DumpContents, *, tables: Sequence[str] = (), schemas: Sequence[str] = ()
) -> Selection:
    """The entries for these tables (``t``, ``s.t``, ``"S"."T"``) and schemas, as typed.

    ConfigurationError for a name that is not in the dump, or is several.
    """
    choice = _Choice(contents)
    named: dict[QualifiedName, int] = {
        (each.schema or "", each.name): each.id for each in contents.entries if each.kind in _NAMED
    }
    for typed in tables:
        choice.ask_for(named[find_name(typed, named, "table")])
    if schemas:
        known = {("", each.schema) for each in contents.entries if each.schema is not None}
        known |= {("", each.name) for each in contents.entries if each.kind == "SCHEMA"}
        for typed in schemas:
            choice.take_schema(find_name(typed, known, "schema")[1])
    if not tables and not schemas:
        raise ConfigurationError("choose entries: neither a table nor a schema was named")
    return choice.selection(choice.settle())


@dataclass(slots=True)
class _Choice:
    contents: DumpContents
    entries: dict[int, ContentsEntry] = field(init=False)
    dependents: dict[int, list[int]] = field(init=False)
    whole: dict[int, None] = field(default_factory=dict)
    """Chosen with all that belongs to it."""
    bare: dict[int, None] = field(default_factory=dict)
    """Made without rows, because something chosen needs them there."""
    waiting: dict[int, None] = field(default_factory=dict)
    """What may belong to something chosen."""
    reasons: dict[int, int] = field(default_factory=dict)
    """Tables and views to what needed each first."""
    asked: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.entries = {each.id: each for each in self.contents.entries}
        self.dependents = defaultdict(list)
        for each in self.contents.entries:
            for needed in each.depends_on:
                self.dependents[needed].append(each.id)

    def take(self, number: int) -> None:
        """Choose an entry, and what it needs."""
        todo = [(number, True)]
        while todo:
            at, whole = todo.pop()
            if at in self.whole or (not whole and at in self.bare):
                continue
            self.bare.pop(at, None)
            (self.whole if whole else self.bare)[at] = None
            self.waiting.update(dict.fromkeys(self.dependents[at]))
            entry = self.entries[at]
            for needed in self._needs(entry):
                other = self.entries[needed]
                # A view shows nothing without the rows it reads.
                reads = whole and entry.kind in _VIEWS
                as_whole = other.kind not in _RELATIONS or reads
                if other.kind in _RELATIONS:
                    self.reasons.setdefault(needed, at)
                todo.append((needed, as_whole))

    def ask_for(self, number: int) -> None:
        """Choose what somebody named."""
        self.asked.add(number)
        self.take(number)

    def take_schema(self, schema: str) -> None:
        """Choose what is in a schema, and itself."""
        for each in self.contents.entries:
            inside = each.schema == schema and each.kind not in _BELONGING | _OF_THE_DATABASE
            if inside or (each.kind == "SCHEMA" and each.name == schema):
                self.ask_for(each.id)

    def settle(self) -> list[ContentsEntry]:
        """Choose what belongs to what is chosen, until nothing more does; what has to stay out."""
        unfit: dict[int, None] = {}
        changed = True
        while changed:
            changed = False
            waiting, self.waiting = {**self.waiting, **unfit}, {}
            unfit = {}
            for number in sorted(waiting):
                entry = self.entries[number]
                if number in self.whole or not self._belongs(entry):
                    continue
                if self._lacks(entry):
                    unfit[number] = None
                    continue
                self.take(number)
                changed = True
            changed = changed or bool(self.waiting)
        return [self.entries[number] for number in unfit]

    def selection(self, left_out: Sequence[ContentsEntry]) -> Selection:
        chosen = [
            each
            for each in self.contents.entries
            if each.id in self.whole or each.id in self.bare or each.kind in _ALWAYS
        ]
        return Selection(
            entries=tuple(each.id for each in chosen),
            tables=tuple(
                (each.schema or "", each.name)
                for each in chosen
                if each.kind == "TABLE" and each.id in self.whole
            ),
            notes=tuple(self._notes(left_out)),
        )

    def _needs(self, entry: ContentsEntry) -> list[int]:
        """What it depends on; milestones of pg_dump's own are in no archive."""
        return [each for each in entry.depends_on if each in self.entries]

    def _reads_chosen(self, view: ContentsEntry) -> bool:
        return any(
            at in self.whole and self.entries[at].kind in _RELATIONS for at in self._needs(view)
        )

    def _belongs(self, entry: ContentsEntry) -> bool:
        needs = self._needs(entry)
        if entry.kind == "TABLE":
            return any(self._is_partition_of(entry, at) for at in needs if at in self.whole)
        if entry.kind in _OF_ANYTHING:
            return any(at in self.whole or at in self.bare for at in needs)
        if entry.kind in _TIES:
            return all(at in self.whole or at in self.bare for at in needs)
        if entry.kind in _TAGGED:
            return any(at in self.whole and _is_tagged(entry, self.entries[at]) for at in needs)
        owners = _OWNERS.get(entry.kind, frozenset())
        return any(at in self.whole and self.entries[at].kind in owners for at in needs)

    def _is_partition_of(self, entry: ContentsEntry, parent: int) -> bool:
        return any(
            self.entries[at].kind == "TABLE ATTACH" and parent in self.entries[at].depends_on
            for at in self.dependents[entry.id]
        )

    def _lacks(self, entry: ContentsEntry) -> list[ContentsEntry]:
        """The tables and views it would bring along though they are not chosen."""
        if entry.kind == "TABLE":
            return []
        seen: set[int] = set()
        lacking = []
        todo = self._needs(entry)
        while todo:
            at = todo.pop()
            # A key holds only where the rows of both ends are.
            there = at in self.whole or (at in self.bare and entry.kind != "FK CONSTRAINT")
            if there or at in seen:
                continue
            seen.add(at)
            if self.entries[at].kind in _RELATIONS:
                lacking.append(self.entries[at])
            else:
                todo += self._needs(self.entries[at])
        return lacking

    def _notes(self, left_out: Sequence[ContentsEntry]) -> Iterator[str]:
        for number, by in self.reasons.items():
            entry, needing = _shown(self.entries[number]), _shown(self.entries[by])
            if number in self.bare:
                yield f"{entry} is made without its rows: {needing} needs it"
            elif number not in self.asked and self.entries[by].kind in _VIEWS:
                yield f"{entry} comes with its rows: {needing} reads it"
        for each in left_out:
            others = ", ".join(sorted(map(_shown, self._lacks(each))))
            yield f"{_shown(each)} stays out: it needs {others}"
        for each in self.contents.entries:
            chosen = each.id in self.whole or each.id in self.bare
            if each.kind in _VIEWS and not chosen and self._reads_chosen(each):
                yield f"{_shown(each)} stays out: it was not asked for"
        if any(each.kind in _NOBODYS for each in self.contents.entries):
            yield "large objects stay out: they belong to no table"


def _is_tagged(entry: ContentsEntry, other: ContentsEntry) -> bool:
    return entry.schema == other.schema and entry.name.startswith(f"{other.name} ")


def _shown(entry: ContentsEntry) -> str:
    return f"{entry.kind.lower()} {shown_name((entry.schema or '', entry.name))}"
