"""The names of the PostgreSQL family, spelled once."""

import dagster as dg

BACKUP = dg.AssetKey(["postgres", "backup"])
OFFSITE_COPY = dg.AssetKey(["postgres", "offsite_copy"])
LOCAL_COPY = dg.AssetKey(["postgres", "local_copy"])
RESTORE_PROOF = dg.AssetKey(["postgres", "restore_proof"])
WAL_ARCHIVE = dg.AssetKey(["postgres", "wal_archive"])
OFFSITE_WAL = dg.AssetKey(["postgres", "offsite_wal"])
LOCAL_WAL = dg.AssetKey(["postgres", "local_wal"])

COPIES = {"offsite": OFFSITE_COPY, "local": LOCAL_COPY}
"""Copy to the asset of the backups brought there."""

RESTORE_PROVEN = dg.AssetCheckKey(BACKUP, "restore_proven")

BACKUP_ID_TAG = "kb_dr/backup_id"
"""On each run: the backup it is about."""
