"""Everything that can become an alert: what it means, and what to do first.

docs/monitoring.md has a section of the same name for each kind, and a test holds the two together.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kb_dr.domain.severity import Severity

C, W = Severity.CRITICAL, Severity.WARNING


@dataclass(frozen=True, slots=True)
class AlertKind:
    """One kind of alert."""

    name: str
    """Of a check: the check's own name, a sentence that is true when it is green."""
    severity: Severity
    """Unless what was seen says otherwise."""
    broken: str
    """What is the matter, as a title."""
    means: str
    """What that means for recoverability."""
    first_move: str
    """What to do first; commands in backquotes."""


def _kinds(kinds: Iterable[AlertKind]) -> dict[str, AlertKind]:
    return {kind.name: kind for kind in kinds}


CHECKS = _kinds(
    (
        # --- every minute -----------------------------------------------------------------
        AlertKind(
            "newest_backup_is_young",
            C,
            "No full backup is young enough",
            "A restore still works, but each hour it replays more WAL, and rests on more of it.",
            "Read why the last run failed; then `kb-dr backup full`.",
        ),
        AlertKind(
            "newest_increment_is_young",
            W,
            "The newest incremental backup is too old",
            "Nothing is lost while WAL is archived; a restore replays more of it.",
            "`kb-dr backup incr`, and read what it says.",
        ),
        AlertKind(
            "newest_dump_is_young",
            W,
            "The newest logical dump is too old",
            "One table lost, or a move to another major version, costs a whole restore instead.",
            "`kb-dr backup dump`, and read what it says.",
        ),
        AlertKind(
            "backup_size_is_plausible",
            W,
            "The newest backup is far smaller than the week's",
            "Tables may have been dropped, or the wrong server may be backed up.",
            "Count production's rows; keep an older backup: `kb-dr hold ID`.",
        ),
        AlertKind(
            "backups_are_quick",
            W,
            "The newest backup took too long",
            "Backups still succeed; one that never ends is next.",
            "Look at the run's phases, the network and the load of the source.",
        ),
        AlertKind(
            "wal_leaves_the_server",
            C,
            "WAL piles up on the server",
            "Commits since then are in one place only, and production's disk fills up.",
            "The server's log says why archive_command fails; `kb-dr doctor`.",
        ),
        AlertKind(
            "archiver_succeeds",
            C,
            "The server cannot archive its WAL",
            "Commits since then are in one place only.",
            "The server's log says why; `kb-dr wal push FILE` shows it by hand.",
        ),
        AlertKind(
            "archived_wal_has_arrived",
            C,
            "WAL the server calls archived is not in the repository",
            "archive_command reports success for what it did not store: recovery ends there.",
            "Set archive_command to `kb-dr wal push %p`, then `kb-dr backup full`.",
        ),
        AlertKind(
            "slot_keeps_up",
            C,
            "The WAL stream's slot falls behind, or is lost",
            "Commits since then may be in one place only; the slot fills production's disk.",
            "Start `kb-dr wal stream`, and see what it logs.",
        ),
        AlertKind(
            "rpo_holds",
            C,
            "More would be lost than is allowed",
            "A disaster now would lose more than KB_DR_RPO_SECONDS of commits in a copy.",
            "`kb-dr status` says what each copy covers; then `kb-dr wal audit`.",
        ),
        AlertKind(
            "repositories_answer",
            C,
            "A repository cannot be read or written",
            "Nothing is stored there, and nothing can be restored from it, while that lasts.",
            "`kb-dr doctor` names the cause: network, key, permission, missing bucket.",
        ),
        AlertKind(
            "copies_follow",
            W,
            "A further copy lags behind",
            "A disaster that takes the primary repository would lose what has not been copied.",
            "`kb-dr copy`, and read what it says.",
        ),
        AlertKind(
            "disks_have_room",
            W,
            "A disk of this machine fills up",
            "Backups, proofs or production itself stop when it is full.",
            "Make room, or move what is named to a larger disk.",
        ),
        AlertKind(
            "newest_proof_is_young",
            C,
            "Nothing was shown to restore for too long",
            "Backups may be good; nobody knows.",
            "`kb-dr verify latest`, and read what it says.",
        ),
        AlertKind(
            "clocks_agree",
            C,
            "Clocks disagree",
            "Every age and RPO shown may be wrong.",
            "Set the clock of this machine and of the source by NTP.",
        ),
        # --- every hour -------------------------------------------------------------------
        AlertKind(
            "keys_open",
            C,
            "A key that is held does not open what is stored",
            "Those backups are lost unless the right key is found.",
            "`kb-dr keys check` names them; find the identity while there is time: docs/keys.md.",
        ),
        AlertKind(
            "coverage_is_whole",
            W,
            "Too little of what is kept was shown to restore",
            "What was never tried may be worth nothing.",
            "`kb-dr report --last` names what lacks a proof; `kb-dr verify ID --from COPY`.",
        ),
        # --- with their assets --------------------------------------------------------------
        AlertKind(
            "restore_proven",
            C,
            "A backup is known not to restore",
            "That copy of that backup cannot be relied on, nor can what was made against it.",
            "`kb-dr show ID`; take a full backup now, and restore from another copy meanwhile.",
        ),
        AlertKind(
            "every_chunk_is_stored",
            C,
            "Objects of a backup are missing",
            "That backup cannot be restored from that copy.",
            "`kb-dr copy --repair`; else take a full backup now.",
        ),
        AlertKind(
            "wal_archive_has_no_gap",
            C,
            "The WAL archive has a gap, or foreign WAL",
            "Nothing behind the gap can be recovered from the backups before it.",
            "`kb-dr wal audit` names it; `kb-dr copy` fills it; then `kb-dr backup full`.",
        ),
        AlertKind(
            "copies_have_room",
            W,
            "A copy has no room for the next backup, or fills up",
            "The next backup fails there, or one before long.",
            "Make room there, or move it to a larger disk.",
        ),
        AlertKind(
            "verifier_sees_damage",
            C,
            "The verifier does not see damage",
            "Every green proof is void until it does.",
            "`kb-dr controls`; docs/troubleshooting.md says how to mend it.",
        ),
        AlertKind(
            "a_passed_drill_is_recent",
            C,
            "No recovery drill was passed of late",
            "Nobody knows whether the whole way back still works, nor how long it takes.",
            "`kb-dr drill`, and read its report.",
        ),
        AlertKind(
            "what_is_kept_is_whole",
            C,
            "The integrity report found something wrong, or is missing",
            "Something that is kept may not be restorable.",
            "`kb-dr report --last` names it.",
        ),
    )
)
"""Checks, by name."""

EVENTS = _kinds(
    (
        AlertKind(
            "run_failed",
            C,
            "A run failed",
            "What it was to do was not done: a backup, a copy, a proof.",
            "Read the run's error and its hint; what failed is tried again by its schedule.",
        ),
        AlertKind(
            "run_is_stuck",
            W,
            "A run does not start, or does not end",
            "Runs behind it in the queue wait.",
            "Look at the run; terminate it if its process is gone.",
        ),
        AlertKind(
            "check_crashed",
            C,
            "A check could not be carried out",
            "Nobody knows whether what it watches is well; its last light is worth nothing.",
            "Read the run's error.",
        ),
        AlertKind(
            "schedule_missed",
            C,
            "A schedule did not run when it should have",
            "What it starts did not happen.",
            "Does the daemon run? Launch the job by hand; its page shows the ticks.",
        ),
        AlertKind(
            "schedule_is_off",
            W,
            "A schedule or sensor was turned off",
            "What it starts will not happen until it is turned on.",
            "Turn it on, on Dagster's page Automation.",
        ),
        AlertKind(
            "automation_failed",
            C,
            "A schedule or sensor fails",
            "What it starts does not happen.",
            "Its page shows the error of the tick.",
        ),
        AlertKind(
            "channel_fails",
            W,
            "An alert channel does not take messages",
            "Alerts reach you by the other channels alone.",
            "`kb-dr doctor` names the cause; what waits is delivered when it is mended.",
        ),
        AlertKind(
            "outbox_fails",
            W,
            "The database of the alerts cannot be used",
            "Alerts go out without it; one may come twice.",
            "Is the database of KB_DR_CATALOG_URL running?",
        ),
        AlertKind(
            "many_at_once",
            W,
            "Many alerts at once",
            "Read the critical ones first: most often one cause is behind all of them.",
            "`kb-dr alerts list`, then `kb-dr status`.",
        ),
        AlertKind("run_succeeded", Severity.INFO, "A run succeeded", "", ""),
        AlertKind(
            "weekly_digest",
            Severity.INFO,
            "The week in one message",
            "It sums up the readiness page and the alerts of the week.",
            "None when it says ready; else what it says to do.",
        ),
        AlertKind("channel_test", Severity.INFO, "A test of this channel", "", ""),
    )
)
"""What happens, rather than what is found out by looking."""

KINDS = {**CHECKS, **EVENTS}


def kind_of(name: str) -> AlertKind:
    """The kind of that name; KeyError for a name nobody has described."""
    return KINDS[name]
