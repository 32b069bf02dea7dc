"""`kb-dr verify ID|latest`: restore into scratch, look, and leave a proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kb_dr.cli.opened import from_option, installation, json_option, parse_backup_id, progress
from kb_dr.cli.output import moment, print_json, print_table, size
from kb_dr.errors import NotProven, ProofFailed, ProofsVoid

if TYPE_CHECKING:
    from kb_dr.domain.proof import Proof


@click.command("verify")
@click.argument("wanted", metavar="ID|latest", default="latest")
@from_option(None)
@click.option(
    "--kind",
    type=click.Choice(["files", "dump"]),
    default="files",
    help="What latest means: the newest backup of files (default), or the newest logical dump.",
)
@json_option
def command(wanted: str, copy: str | None, kind: str, as_json: bool) -> None:
    """Restore a backup from one copy (default: the one that counts) and prove it.

    A logical dump is loaded into a new, empty cluster, and compared with its snapshot.

    Exits 0 only for PROVEN; 61 for FAILED, 62 for NOT_PROVEN, 64 for a PROVEN that is void
    because a negative control has shown that the verifier is blind. The scratch server is always
    gone afterwards; the proof is kept in the repository.
    """
    from kb_dr.domain.proof import Verdict, is_void

    opened = installation()
    read = copy or opened.copy_that_counts
    backup = None if wanted == "latest" else parse_backup_id(wanted)
    if backup is None and kind == "dump":
        backup = opened.newest_dump(read)
    proof = opened.verify(backup, read, progress())
    if as_json:
        print_json(proof)
    else:
        print_proof(proof)
    if proof.verdict is Verdict.FAILED:
        raise ProofFailed(
            f"verify {proof.backup_id} from {proof.copy}: FAILED: {proof.reason}",
            hint=f"This copy cannot be relied on: `kb-dr copy --repair {proof.backup_id}` mends it "
            "from another, then verify it again. Verify the other copy; take another one now: "
            f"`kb-dr backup {'dump' if proof.of_dump else 'full'}`.",
        )
    if proof.verdict is Verdict.NOT_PROVEN:
        raise NotProven(
            f"verify {proof.backup_id} from {proof.copy}: NOT_PROVEN: {proof.reason}",
            hint="It says neither good nor bad of the backup. Mend what was missing; run it again.",
        )
    if is_void(proof, opened.void_through()):
        raise ProofsVoid(f"verify {proof.backup_id} from {proof.copy}: PROVEN, but it is void")


def print_proof(proof: Proof) -> None:
    """A proof as three tables."""
    print_table(
        f"{proof.verdict}: {proof.backup_id} from {proof.copy}",
        ("", ""),
        (
            ("why", proof.reason),
            ("read from", f"{proof.copy} ({proof.url})"),
            ("manifest", f"sha256 {proof.manifest_digest or 'unreadable'}"),
            *(("with", f"sha256 {digest}") for digest in proof.chain[:-1]),
            *_reached(proof),
            ("restore took", f"{proof.rto_seconds:.1f} s"),
            ("proof", proof.id),
        ),
    )  # fmt: skip
    print_table(
        "Checks",
        ("check", "outcome", "seen"),
        ((check.name, check.outcome, check.seen) for check in proof.checks),
    )
    print_table(
        "Phases",
        ("phase", "seconds", "bytes"),
        ((phase.name, f"{phase.seconds:.2f}", size(phase.size_bytes)) for phase in proof.phases),
    )


def _reached(proof: Proof) -> tuple[tuple[str, str], ...]:
    """How far replay came, where anything is replayed at all."""
    reach = proof.reach
    if reach is None:
        if proof.of_dump:
            return (("replayed", "nothing: a dump is loaded, and needs no WAL"),)
        return (("reached", "not known"), ("expected", "not known"), ("newest commit", "-"))
    return (
        ("reached", f"{reach.reached_lsn} on timeline {reach.reached_timeline}"),
        ("expected", f"{reach.expected_lsn} on timeline {reach.expected_timeline}"),
        ("newest commit", moment(reach.newest_commit)),
    )
