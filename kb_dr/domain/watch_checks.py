"""Which checks watch the clock, on which asset, and how often they are looked at.

They hang on assets that no run makes, so that they speak whether or not anything happened.
"""

MINUTE_CHECKS: dict[str, tuple[str, ...]] = {
    "newest_backup_is_young": ("recovery", "point"),
    "newest_increment_is_young": ("recovery", "point"),
    "newest_dump_is_young": ("recovery", "point"),
    "backup_size_is_plausible": ("recovery", "point"),
    "backups_are_quick": ("recovery", "point"),
    "rpo_holds": ("recovery", "point"),
    "newest_proof_is_young": ("recovery", "point"),
    "clocks_agree": ("recovery", "point"),
    "wal_leaves_the_server": ("postgres", "wal_archive"),
    "archiver_succeeds": ("postgres", "wal_archive"),
    "archived_wal_has_arrived": ("postgres", "wal_archive"),
    "slot_keeps_up": ("postgres", "wal_archive"),
    "repositories_answer": ("repository", "copies"),
    "copies_follow": ("repository", "copies"),
    "disks_have_room": ("repository", "copies"),
}
"""Name to asset: all of them in one run a minute."""

HOURLY_CHECKS: dict[str, tuple[str, ...]] = {
    "keys_open": ("repository", "copies"),
    "coverage_is_whole": ("repository", "copies"),
}
"""The same of those that read more."""
