"""Keep and read the records of drills."""

from kb_dr.domain import layout
from kb_dr.domain.drill import Drill
from kb_dr.domain.drill_report import drill_report
from kb_dr.operations.kept_records import keep_bytes, keep_record, load_kept
from kb_dr.ports import Repository


def store_drill(places: tuple[Repository, ...], drill: Drill) -> None:
    """Append one drill, as a report and as a record; raises as keep_record() does."""
    keep_bytes(places, layout.drill_key(drill.id, "md"), drill_report(drill).encode())
    keep_record(places, layout.drill_key(drill.id), drill)


def load_drills(repository: Repository) -> tuple[Drill, ...]:
    """Every drill kept in this repository, of whatever copy, oldest first."""
    found = load_kept(repository, layout.DRILLS, Drill, lambda drill: layout.drill_key(drill.id))
    return tuple(sorted(found, key=lambda drill: (drill.started, drill.id)))
