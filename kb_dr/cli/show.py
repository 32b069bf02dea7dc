"""`kb-dr show ID`: one backup forward to its proofs, or one proof back to what it read."""

import re
from collections.abc import Iterator, Sequence

import click

from kb_dr.cli.opened import installation, json_option, parse_backup_id
from kb_dr.cli.output import moment, print_json, print_table, server_version, size
from kb_dr.cli.show_lineage import print_lineage, print_proof_lineage
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.hold import HoldEvent
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.proof import Proof, Verdict, Void, is_void
from kb_dr.errors import BrokenChain, KbDrError
from kb_dr.installation import Installation
from kb_dr.records import as_builtins

_PROOF_ID = re.compile(r"\d{8}-\d{6}-\w[\w-]*")


@click.command("show")
@click.argument("shown_id", metavar="ID")
@json_option
def command(shown_id: str, as_json: bool) -> None:
    """One backup: what it is made of, its copies, children, holds, and each proof of it; also
    of one that expired. Or, by the id of a proof: what that proof read.
    """
    opened = installation()
    if _PROOF_ID.fullmatch(shown_id):
        traced = opened.trace_proof(shown_id)
        if as_json:
            print_json({**as_builtins(traced), "still_speaks": traced.still_speaks})
        else:
            print_proof_lineage(traced)
        return
    _show_backup(opened, parse_backup_id(shown_id), as_json)


def _show_backup(opened: Installation, backup: BackupId, as_json: bool) -> None:
    lineage = opened.trace(backup)
    stored = lineage.stored
    proofs = opened.proofs(backup)
    void = opened.void_through()
    held = opened.gathered_holds(backup)
    holds = held.in_force(str(backup))
    chain, broken = _chain(opened, stored) if stored else ((), None)
    if as_json:
        print_json(
            {
                "manifest": stored.manifest if stored else None,
                "digest": stored.digest if stored else None,
                "chain": [{"id": each.manifest.id, "digest": each.digest} for each in chain],
                "broken": broken,
                "proofs": proofs,
                "void": [proof.id for proof in proofs if is_void(proof, void)],
                "holds": holds,
                "holds_untold": [str(problem) for problem in held.problems],
                "lineage": {
                    "rows": lineage.rows,
                    "chain": lineage.chain,
                    "children": lineage.children,
                    "broken": lineage.broken,
                },
            }
        )
        return
    if stored:
        _print_manifest(stored, holds, held.problems)
        if stored.manifest.parent is not None:
            _print_chain(chain, broken)
    _print_proofs(proofs, void)
    print_lineage(lineage)


def _chain(
    opened: Installation, stored: StoredManifest
) -> tuple[tuple[StoredManifest, ...], str | None]:
    """What it is restored from, or why that is not all there."""
    try:
        return opened.chain(stored), None
    except BrokenChain as error:
        return (stored,), str(error)


def _print_chain(chain: Sequence[StoredManifest], broken: str | None) -> None:
    print_table(
        "Chain",
        ("backup", "taken", "files", "manifest"),
        (
            (
                each.manifest.id,
                moment(each.manifest.finished),
                size(each.manifest.stored_bytes) if each.manifest.has_files else "its parent's",
                each.digest[:12],
            )
            for each in chain
        ),
        caption=f"BROKEN: {broken}"
        if broken
        else "restored together; the proofs below are of this one",
    )


def _print_manifest(
    stored: StoredManifest, holds: Sequence[HoldEvent], untold: Sequence[KbDrError]
) -> None:
    manifest = stored.manifest
    rows = (
        ("taken", f"{moment(manifest.started)} to {moment(manifest.finished)}"),
        ("manifest", f"sha256 {stored.digest}, read from {stored.copy}"),
        ("source", f"{manifest.source.host}, database {manifest.source.database}"),
        ("system identifier", manifest.source.system_identifier),
        ("PostgreSQL", server_version(manifest.source.server_version)),
        *_place(manifest),
        ("size", f"{size(manifest.plain_bytes)}, stored {size(manifest.stored_bytes)}"),
        ("objects", len(manifest.objects)),
        ("recipients", ", ".join(manifest.recipients)),
        ("schema version", manifest.source.schema_version),
        ("extensions", ", ".join(f"{k} {v}" for k, v in manifest.source.extensions.items())),
        *(
            ("tablespace", f"{each.name}, OID {each.oid}, at {each.location} at the source")
            for each in manifest.source.tablespaces
        ),
        *(("note", note) for note in manifest.notes),
        *(("held", f"since {moment(each.at)} by {each.host}: {each.reason}") for each in holds),
        *(("held", f"nobody can tell: {problem}") for problem in untold),
    )
    print_table(manifest.id, ("", ""), rows)
    print_table(
        "Fingerprint",
        ("table", "rows", "sampled"),
        (
            (
                table.table,
                table.rows if table.rows is not None else "moved while looked at",
                len(table.sample),
            )
            for table in manifest.fingerprint.tables
        ),
    )


def _place(manifest: Manifest) -> Iterator[tuple[str, object]]:
    """Where in the life of the cluster it was taken, and of a dump, what it is."""
    wal, dump = manifest.wal, manifest.dump
    if dump is None:
        yield "WAL", f"timeline {wal.timeline}, {wal.start} to {wal.stop}"
        point = manifest.fingerprint
        yield "restore point", f"{point.restore_point} at {point.lsn}"
        return
    shape = dump.shape
    yield "snapshot", f"timeline {wal.timeline}, {wal.start}; no WAL is needed"
    yield "dump", f"{dump.format}, by pg_dump {dump.program}"
    yield "encoding", f"{shape.encoding}, {shape.provider} {shape.locale or shape.collate}"
    yield "roles named", ", ".join(dump.roles)
    yield "globals", "stored beside it" if dump.globals else "none: the role may not read them"


def _print_proofs(proofs: tuple[Proof, ...], void: Void | None) -> None:
    print_table(
        "Proofs",
        ("proof", "finished", "copy", "verdict", "of manifest", "reached", "seconds", "why"),
        (
            (
                proof.id,
                moment(proof.finished),
                proof.copy,
                f"{proof.verdict} (void)" if is_void(proof, void) else proof.verdict,
                (proof.manifest_digest or "unreadable")[:12],
                _reached(proof),
                proof.rto_seconds,
                proof.reason,
            )
            for proof in proofs
        ),
        caption="" if proofs else "none; `kb-dr verify` makes one",
    )


def _reached(proof: Proof) -> object:
    if proof.of_dump:
        return "loaded" if proof.verdict is Verdict.PROVEN else None
    return proof.reach.reached_lsn if proof.reach else None
