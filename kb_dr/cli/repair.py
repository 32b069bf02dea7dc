"""`kb-dr copy --repair`: mend copies that differ from their manifests."""

import click

from kb_dr.cli.opened import progress
from kb_dr.cli.output import print_json, print_table
from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import CopyIncomplete, KbDrError
from kb_dr.installation import Installation
from kb_dr.operations.repair_copy import Repair
from kb_dr.operations.repair_wal import WalRepair


def repair_copies(
    opened: Installation, copies: tuple[str, ...], backup: BackupId | None, *, as_json: bool
) -> None:
    """Mend one backup, or all and the WAL, in each of these copies; say what was done and not.

    One that cannot be looked at holds up no other one; CopyIncomplete when something is left.
    """
    repairs: list[Repair] = []
    wal: list[WalRepair] = []
    failures: list[KbDrError] = []
    for copy in copies:
        try:
            for done in opened.repair(backup, copy, progress()):
                if isinstance(done, KbDrError):
                    failures.append(done)
                else:
                    repairs.append(done)
            if backup is None:
                wal += opened.repair_wal(copy, progress())
        except KbDrError as error:
            failures.append(error)
    left = [each for done in repairs for each in done.left]
    left += [each for done in wal for each in done.left]
    if as_json:
        print_json({"backups": repairs, "wal": wal, "refused": [str(each) for each in failures]})
    else:
        _print_repairs(repairs, wal)
    if failures:
        raise failures[0]
    if left:
        raise CopyIncomplete(
            f"repair: {len(left)} are damaged still: " + "; ".join(left[:20]),
            hint="What no copy has right is lost: take a full backup now. What is retained can "
            "be replaced when its retention ends.",
        )


def _print_repairs(repairs: list[Repair], wal: list[WalRepair]) -> None:
    rows: list[tuple[str, str, Repair | WalRepair]] = [
        *((each.copy, each.backup_id, each) for each in repairs),
        *((each.copy, f"WAL of {each.system_identifier}", each) for each in wal),
    ]
    print_table(
        "Read, and mended",
        ("in", "what", "looked at", "not opened", "mended", "damaged still"),
        (
            (copy, what, each.looked_at, each.unchecked, len(each.mended), len(each.left))
            for copy, what, each in rows
        ),
    )
    for copy, _, each in rows:
        for said in each.mended:
            click.echo(f"mended in {copy}: {said}")
        for said in each.left:
            click.echo(f"DAMAGED STILL in {copy}: {said}")
    for done in repairs:
        if done.mended:
            click.echo(
                f"next: kb-dr verify {done.backup_id} --from {done.copy}; "
                "what failed there is red until it is proven anew"
            )
