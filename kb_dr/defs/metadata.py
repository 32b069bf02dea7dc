"""What people read on Dagster's pages: one vocabulary, the same in manifest, log and CLI.

Numbers are plain, so that the pages plot them; everything with rows is a table in markdown.
"""

from collections.abc import Iterable, Sequence

import dagster as dg

from kb_dr.domain.control import ControlRun
from kb_dr.domain.increment import describe_kind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Check, Phase, Proof, Standing
from kb_dr.operations.copy_backup import BackupCopy

Metadata = dict[str, dg.MetadataValue]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MetadataValue:
    """Rows as a markdown table; a line saying so when there are none."""
    body = [[_cell(value) for value in row] for row in rows]
    if not body:
        return dg.MetadataValue.md("none")
    lines = [list(columns), ["---"] * len(columns), *body]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(line) + " |" for line in lines))


def backup_metadata(found: StoredManifest, chain: Sequence[StoredManifest] = ()) -> Metadata:
    """One backup, as its manifest says it; ``chain`` is what restoring it takes, full first."""
    manifest = found.manifest
    seconds = (manifest.finished - manifest.started).total_seconds()
    return {
        "backup_id": dg.MetadataValue.text(manifest.id),
        "manifest_digest": dg.MetadataValue.text(found.digest),
        "copy": dg.MetadataValue.text(found.copy),
        "kind": dg.MetadataValue.text(describe_kind(manifest)),
        "engine": dg.MetadataValue.text(manifest.engine),
        "parent": dg.MetadataValue.text(manifest.parent or "none"),
        "chain_length": dg.MetadataValue.int(max(len(chain), 1)),
        "timeline": dg.MetadataValue.int(manifest.wal.timeline),
        "start_lsn": dg.MetadataValue.text(str(manifest.wal.start)),
        "stop_lsn": dg.MetadataValue.text(str(manifest.wal.stop)),
        "started": dg.MetadataValue.timestamp(manifest.started),
        "finished": dg.MetadataValue.timestamp(manifest.finished),
        "duration_seconds": dg.MetadataValue.float(seconds),
        "stored_bytes": dg.MetadataValue.int(manifest.stored_bytes),
        "plain_bytes": dg.MetadataValue.int(manifest.plain_bytes),
        "chunks": dg.MetadataValue.int(len(manifest.chunks)),
        "server_version": dg.MetadataValue.int(manifest.source.server_version),
        "system_identifier": dg.MetadataValue.text(str(manifest.source.system_identifier)),
        "schema_version": dg.MetadataValue.text(manifest.source.schema_version or "none"),
        "tables": table(
            ("table", "rows", "rows sampled"),
            ((t.table, t.rows, len(t.sample)) for t in manifest.fingerprint.tables),
        ),
        "extensions": table(("extension", "version"), sorted(manifest.source.extensions.items())),
        "notes": table(("note",), ((note,) for note in manifest.notes)),
    }


def proof_metadata(proof: Proof, lineage: Metadata | None = None) -> Metadata:
    """One proof: verdict, what was read, how far replay came, and how long each phase took.

    ``lineage`` stands below the verdict, where a person looks for it.
    """
    return {
        "verdict": dg.MetadataValue.text(str(proof.verdict)),
        "reason": dg.MetadataValue.text(proof.reason),
        "backup_id": dg.MetadataValue.text(proof.backup_id),
        "manifest_digest": dg.MetadataValue.text(proof.manifest_digest or "unreadable"),
        **(lineage or {}),
        "chain": table(("manifests it read, the full's first",), ((each,) for each in proof.chain)),
        "copy_read": dg.MetadataValue.text(f"{proof.copy} ({proof.url})"),
        **_reach(proof),
        "rto_seconds": dg.MetadataValue.float(proof.rto_seconds),
        "phases": phases_table(proof.phases),
        "checks": checks_table(proof.checks),
        "proof_id": dg.MetadataValue.text(proof.id),
        "started": dg.MetadataValue.timestamp(proof.started),
        "finished": dg.MetadataValue.timestamp(proof.finished),
        "tools": table(("program", "version"), sorted(proof.tools.items())),
    }


def _reach(proof: Proof) -> Metadata:
    reach = proof.reach
    if reach is None and proof.of_dump:
        return {"reached_lsn": dg.MetadataValue.text("none: a dump is loaded, nothing replayed")}
    if reach is None:
        return {"reached_lsn": dg.MetadataValue.text("not known: replay did not begin")}
    found: Metadata = {
        "reached_lsn": dg.MetadataValue.text(str(reach.reached_lsn or "not known")),
        "reached_timeline": dg.MetadataValue.text(str(reach.reached_timeline or "not known")),
        "expected_lsn": dg.MetadataValue.text(str(reach.expected_lsn)),
        "expected_timeline": dg.MetadataValue.int(reach.expected_timeline),
    }
    if reach.newest_commit is not None:
        found["newest_commit"] = dg.MetadataValue.timestamp(reach.newest_commit)
    return found


def copy_metadata(copied: BackupCopy) -> Metadata:
    """What one copy to the other repository did."""
    return {
        "backup_id": dg.MetadataValue.text(copied.backup_id),
        "manifest_digest": dg.MetadataValue.text(copied.digest),
        "copy": dg.MetadataValue.text(copied.copy),
        "brought_from": dg.MetadataValue.text(copied.source),
        "objects": dg.MetadataValue.int(copied.objects),
        "copied_objects": dg.MetadataValue.int(copied.copied_objects),
        "copied_bytes": dg.MetadataValue.int(copied.copied_bytes),
        "wal_files": dg.MetadataValue.int(copied.wal_files),
        "wal_unchecked": dg.MetadataValue.int(copied.wal_unchecked),
        "wal_problems": table(("problem",), ((each,) for each in copied.wal_problems)),
        "already_complete": dg.MetadataValue.bool(copied.already_complete),
    }


def controls_metadata(run: ControlRun) -> Metadata:
    """One round of negative controls: what was damaged, and what the verifier said of it."""
    return {
        "control_id": dg.MetadataValue.text(run.id),
        "passed": dg.MetadataValue.bool(run.passed),
        "backup_id": dg.MetadataValue.text(run.backup_id),
        "manifest_digest": dg.MetadataValue.text(run.manifest_digest),
        "copy_read": dg.MetadataValue.text(f"{run.copy} ({run.url})"),
        "blind": dg.MetadataValue.int(len(run.blind)),
        "misjudged": dg.MetadataValue.int(len(run.misjudged)),
        "started": dg.MetadataValue.timestamp(run.started),
        "finished": dg.MetadataValue.timestamp(run.finished),
        "duration_seconds": dg.MetadataValue.float((run.finished - run.started).total_seconds()),
        "controls": table(
            ("damage", "what was damaged", "fitting", "verdict", "names it", "outcome", "reason"),
            (
                (
                    r.damage,
                    r.detail or "nothing",
                    r.expected,
                    r.verdict or "none",
                    "yes" if r.named else "no",
                    r.outcome,
                    r.reason,
                )
                for r in run.results
            ),
        ),
        "tools": table(("program", "version"), sorted(run.tools.items())),
    }


def standing_metadata(standings: dict[str, tuple[Standing, Proof | None]]) -> dg.MetadataValue:
    """Where each copy of a backup stands, and the proof that says so."""
    return table(
        ("copy", "standing", "proof", "finished", "reason"),
        (
            (copy, standing, proof.id, proof.finished.isoformat(timespec="seconds"), proof.reason)
            if proof
            else (copy, standing, "none", "", "nobody has tried, or no try came to its end")
            for copy, (standing, proof) in standings.items()
        ),
    )


def phases_table(phases: Sequence[Phase]) -> dg.MetadataValue:
    """How long each part took, and all of them."""
    total = sum(phase.seconds for phase in phases)
    rows = [
        (p.name, f"{p.seconds:.1f}", "" if p.size_bytes is None else f"{p.size_bytes:,}")
        for p in phases
    ]
    return table(("phase", "seconds", "bytes"), [*rows, ("all phases", f"{total:.1f}", "")])


def checks_table(checks: Sequence[Check]) -> dg.MetadataValue:
    """Every check, with what it saw."""
    return table(
        ("check", "outcome", "needed", "seen"),
        ((c.name, c.outcome, "yes" if c.needed else "no", c.seen) for c in checks),
    )


def _cell(value: object) -> str:
    text = "not known" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
