"""The command `kb-dr`; it never imports Dagster."""
