"""`kb-dr copy`: bring backups and WAL to the further copies."""

from dataclasses import dataclass, field

import click

from kb_dr.cli.opened import installation, json_option, parse_backup_id, progress
from kb_dr.cli.output import print_json, print_table, size
from kb_dr.cli.repair import repair_copies
from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import ConfigurationError, CopyIncomplete, KbDrError
from kb_dr.installation import Installation
from kb_dr.operations.copy_backup import BackupCopy
from kb_dr.operations.copy_wal import WalCopy
from kb_dr.ports import Progress
from kb_dr.settings import COPY_NAMES


@click.command("copy")
@click.argument("backup_id", metavar="[ID]", required=False)
@click.option("--to", "copy", type=click.Choice(COPY_NAMES), help="Only this copy; default: each.")
@click.option("--wal-only", is_flag=True, help="Only WAL the copies lack.")
@click.option("--repair", is_flag=True, help="Read every byte there, and mend what is damaged.")
@json_option
def command(
    backup_id: str | None, copy: str | None, wal_only: bool, repair: bool, as_json: bool
) -> None:
    """Copy one backup (default: every one that a copy lacks), then all newer WAL.

    Each copy is brought it from the nearest one that has it right. Digests are compared from both
    ends, nothing is ever deleted there, and what retention let go of in a copy is not brought
    back. An interrupted copy goes on where it broke off.

    With --repair what differs from its manifest, in any copy, is replaced by what another copy
    has right. A copy that failed its proof stays red until it is proven anew.
    """
    if repair and wal_only:
        raise ConfigurationError("copy: --repair and --wal-only were both given, expected one")
    opened = installation()
    wanted = None if backup_id is None else parse_backup_id(backup_id)
    if copy is not None or len(opened.copies) == 1:
        opened.repository(copy or "offsite")  # none configured: said with what to set
    if repair:
        repair_copies(opened, opened.copies if copy is None else (copy,), wanted, as_json=as_json)
        return
    if copy == "primary":
        raise ConfigurationError(
            "copy to primary: backups are taken there",
            hint="`kb-dr copy --repair --to primary` brings back what it has lost.",
        )
    done = _Done()
    if wal_only:
        done.bring_all(opened, copy, wanted, as_json=as_json, wal_only=True)
        return
    with opened.pinged("copy", copy or "", parts=opened.further_copies, every=True):
        done.bring_all(opened, copy, wanted, as_json=as_json, wal_only=False)


@dataclass(slots=True)
class _Done:
    """What was brought, to all copies."""

    backups: list[BackupCopy] = field(default_factory=list)
    wal: list[WalCopy] = field(default_factory=list)
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Copy to the backups it has let go of."""

    def bring_all(
        self,
        opened: Installation,
        copy: str | None,
        backup: BackupId | None,
        *,
        as_json: bool,
        wal_only: bool,
    ) -> None:
        """Bring it to each copy, show what was done, and raise what could not be."""
        failures: list[KbDrError] = []
        for each in opened.further_copies if copy is None else (copy,):
            try:
                self.bring(opened, each, backup, progress(), wal_only=wal_only)
            except KbDrError as error:
                failures.append(error)  # a copy that is down holds up no other one
        if as_json:
            print_json({"backups": self.backups, "wal": self.wal, "left_out": self.left_out})
        else:
            self.print()
        if failures:
            raise failures[0]
        self.require_complete()

    def bring(
        self,
        opened: Installation,
        copy: str,
        backup: BackupId | None,
        watch: Progress,
        *,
        wal_only: bool,
    ) -> None:
        wanted: tuple[BackupId, ...] = ()
        failure: KbDrError | None = None
        if backup is not None:
            wanted = (backup,)
        elif not wal_only:
            lacking = opened.lacking(copy)
            wanted, self.left_out[copy] = lacking.wanted, lacking.let_go
            if lacking.damaged:
                failure = CopyIncomplete(
                    f"copy to {copy}: the manifest of {', '.join(lacking.damaged[:5])} differs "
                    "there, or cannot be read",
                    hint=f"`kb-dr copy --repair --to {copy}` mends it, or says why it cannot be.",
                )
        for each in wanted:
            try:
                self.backups.append(opened.copy_backup(each, copy, watch))
            except KbDrError as error:
                if error.retryable:
                    raise
                failure = failure or error  # one bad backup keeps no other one here
        self.wal += opened.copy_wal(watch, copy, everything=True)
        if failure is not None:
            raise failure

    def print(self) -> None:
        let_go = {copy: len(names) for copy, names in self.left_out.items() if names}
        print_table(
            "Copied",
            ("to", "what", "from", "objects", "new", "bytes", "manifest digest"),
            [
                *(
                    (c.copy, c.backup_id, c.source, c.objects, c.copied_objects,
                     size(c.copied_bytes), c.digest)
                    for c in self.backups
                ),
                *(
                    (w.copy, f"WAL of {w.system_identifier}", "-", w.copied + w.already, w.copied,
                     size(w.copied_bytes), f"newest: {w.newest or '-'}")
                    for w in self.wal
                ),
            ],
            caption="; ".join(
                f"{count} that retention let go of in {copy} are left out"
                for copy, count in let_go.items()
            ),
        )  # fmt: skip

    def require_complete(self) -> None:
        """After the tables: what was copied stays so; what was not must not look like success."""
        problems = [each for done in self.backups for each in done.wal_problems]
        problems += [each for done in self.wal for each in done.problems if each not in problems]
        if problems:
            raise CopyIncomplete(
                f"copy: {len(problems)} WAL files could not be: " + "; ".join(problems[:20])
            )
