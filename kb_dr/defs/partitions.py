"""Partitions: one key per backup, and the key is the backup's id."""

import dagster as dg

POSTGRES_BACKUPS = "postgres_backups"

postgres_backups = dg.DynamicPartitionsDefinition(name=POSTGRES_BACKUPS)
