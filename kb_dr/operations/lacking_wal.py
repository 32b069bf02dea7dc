"""Whether another repository lacks any WAL, told from listings alone."""

from kb_dr.domain import layout
from kb_dr.operations.copy_wal import compared
from kb_dr.operations.partial_wal import open_partials
from kb_dr.operations.purged_wal import let_go_of_wal
from kb_dr.ports import Repository


def lacks_wal(
    source: Repository, target: Repository, system_identifier: int, *, since: str = ""
) -> bool:
    """Whether follow_wal() or copy_partials() would have anything to do, or to complain of.

    ``since`` is a key to begin after, as for copy_wal(). No object's content is looked at: True
    when in doubt. False stands for these two listings, and for no longer than they do.
    """
    let_go_of = let_go_of_wal(target, system_identifier)
    for listed, there in compared(source, target, system_identifier, since):
        if there == listed.size_bytes:
            continue
        parts = layout.wal_file_of(listed.key)
        if there is not None or parts is None or not let_go_of(parts[1]):
            return True
    partials = open_partials(source, system_identifier, since=since)
    return any(target.find(each.key) is None for each in partials)
