"""Dagster's view: thin bodies over operations."""
