"""Mend copies from the pages: what `kb-dr copy --repair` does, launched by a person."""

import dagster as dg
from pydantic import Field

from kb_dr.defs.copies import CopyRead, copy_named
from kb_dr.defs.metadata import table
from kb_dr.defs.postgres.assets import at_work
from kb_dr.defs.postgres.jobs import HOUR, ends_after
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import ConfigurationError, CopyIncomplete, KbDrError


class RepairConfig(dg.Config):
    """What is read, and mended where it is damaged."""

    copy_to_mend: CopyRead = Field(
        default=CopyRead.auto, description="The copy to mend: `auto` is each of them."
    )
    backup_id: str = Field(
        default="", description="Only this backup; empty: every one, and all WAL."
    )


@dg.op(pool="scratch")
def mend_copies(
    context: dg.OpExecutionContext, config: RepairConfig, door: dg.ResourceParam[InstallationDoor]
) -> None:
    """Read every byte there, and replace what is damaged by what another copy has right.

    Fails while something is damaged still. No light is changed: a copy that failed its proof is
    red until it is proven anew.
    """
    mended: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    with at_work(context) as progress:
        installation = door.open()
        named = copy_named(installation, config.copy_to_mend)
        backup = _backup(config.backup_id)
        for copy in installation.copies if named is None else (named,):
            for done in installation.repair(backup, copy, progress):
                if isinstance(done, KbDrError):
                    left.append((copy, str(done)))
                else:
                    mended += [(copy, each) for each in done.mended]
                    left += [(copy, each) for each in done.left]
            for wal in installation.repair_wal(copy, progress) if backup is None else ():
                mended += [(copy, each) for each in wal.mended]
                left += [(copy, each) for each in wal.left]
        context.add_output_metadata(
            {
                "mended": table(("copy", "what"), mended),
                "damaged_still": table(("copy", "what"), left),
            }
        )
        for copy, what in mended:
            context.log.warning(f"mended in {copy}: {what}")
        if left:
            raise CopyIncomplete(
                f"repair: {len(left)} are damaged still: "
                + "; ".join(f"{copy}: {what}" for copy, what in left[:20]),
                hint="docs/troubleshooting.md, A copy is damaged.",
            )


def _backup(text: str) -> BackupId | None:
    if not text:
        return None
    try:
        return BackupId.parse(text)
    except ValueError as error:
        raise ConfigurationError(str(error), hint="The partitions are the ids.") from error


@dg.job(
    executor_def=dg.in_process_executor,
    tags=ends_after(12 * HOUR),
    description="Read copies to the last byte, and mend what is damaged from one that is right.",
)
def repair_copies() -> None:
    """Mend copies."""
    mend_copies()
