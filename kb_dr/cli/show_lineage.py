"""Lineage as tables: a backup forward, a proof back."""

from kb_dr.cli.output import moment, print_table
from kb_dr.domain.lineage import BackupLineage, ChainLink, ProofLineage
from kb_dr.domain.proof import is_dump


def print_lineage(lineage: BackupLineage) -> None:
    """A backup's status, chain, children, copies, holds, purges and failures; what there is."""
    rows = lineage.rows
    log = rows.log
    print_table(
        f"Lineage of {rows.backup_id}",
        ("", ""),
        (
            ("status", log.status + (f": {log.error_message}" if log.error_message else "")),
            *(("made against", _link(each)) for each in lineage.chain[:-1]),
            *(
                ("encrypted anew from", each.replaces)
                for each in rows.manifests
                if each.replaces is not None
            ),
            *(("needed by", each) for each in lineage.children),
            *((f"held since {moment(x.at)}", x.reason) for x in rows.holds if x.in_force),
            *(
                (f"{each.step} {moment(each.at)}", f"{each.copy}: {each.reason}")
                for each in rows.purges
            ),
            *(
                (f"failed {moment(each.failed_at)}", f"{each.error}: {each.message}")
                for each in rows.failures
            ),
            *(("could not be read", each.problem) for each in rows.problems),
        ),
        caption=f"the chain is broken: {lineage.broken}" if lineage.broken else "",
    )
    print_table(
        "Copies",
        ("copy", "where", "state", "manifest", "standing", "by proof", "problem"),
        (
            (
                each.copy,
                each.location,
                each.state,
                (each.digest or "-")[:12],
                each.standing,
                each.proof_id,
                each.problem,
            )
            for each in rows.copies
        ),
        caption="" if rows.copies else "none",
    )


def print_proof_lineage(lineage: ProofLineage) -> None:
    """A proof, and everything it read."""
    proof, manifest = lineage.proof, lineage.manifest
    print_table(
        f"Proof {proof.id}",
        ("", ""),
        (
            ("verdict", f"{proof.verdict}: {proof.reason}"),
            ("when", f"{moment(proof.started)} to {moment(proof.finished)}, on {proof.host}"),
            ("backup", proof.backup_id),
            ("manifest", f"sha256 {proof.digest or 'unreadable'}"),
            ("read from", f"{proof.copy} ({proof.url})"),
            *(("needed", _link(each)) for each in lineage.chain[:-1]),
            *_replayed(lineage),
            (
                "cluster",
                f"system identifier {manifest.system_identifier}, timeline {manifest.timeline}, "
                f"database {manifest.database} of {manifest.source_host}"
                if manifest
                else "not known: its manifest stands nowhere any more",
            ),
            ("RTO", f"{proof.rto_seconds:.1f} s"),
            ("speaks of what is there now", lineage.still_speaks),
        ),
    )


def _replayed(lineage: ProofLineage) -> tuple[tuple[str, object], ...]:
    proof = lineage.proof
    if is_dump(proof.backup_id):
        return (("WAL replayed", "none: a dump is loaded"),)
    begun, reached = lineage.replayed_from or "not known", proof.reached_lsn or "not known"
    return (
        (
            "WAL replayed",
            f"{begun} to {reached} on timeline {proof.reached_timeline or 'not known'}",
        ),
        ("expected", proof.expected_lsn),
        ("newest commit there", moment(proof.newest_commit)),
        ("asked for", proof.asked),
    )


def _link(link: ChainLink) -> str:
    said = f", {link.problem}" if link.problem else ""
    # The first copy that has it, which need not be the one a proof read.
    where = f", stands in {link.copy}" if link.copy else ""
    return f"{link.id}, manifest {(link.digest or 'not found')[:12]}{where}{said}"
