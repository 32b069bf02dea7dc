"""Dagster's storage in PostgreSQL, with connections that are kept.

dagster-postgres connects anew for each statement. A daemon that has nothing to do sends some
thirty in a second, and every sensor's tick and every run adds to that: to connect, with its
password, costs both sides ten times what the statement does.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
)
from sqlalchemy import Engine, inspect

from kb_dr.defs.kept_answers import keep_answers
from kb_dr.defs.loaded import let_loaded_be

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData
    from dagster_postgres.auth import PgTokenProvider

# The first of ours that a process of Dagster's loads, runs included, and after Dagster itself.
let_loaded_be()

KEPT = 3
"""Connections a process keeps. More threads than that connect for the moment, as before."""

_MADE = {"runs", "instance_info", "event_logs", "jobs"}
"""What dagster-postgres looks for to tell whether its tables were made."""


@cache
def _engine(url: str) -> Engine:
    """One for the whole process: each tick and each run opens an instance of its own."""
    return create_pg_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=KEPT,
        max_overflow=-1,
        # A server that was started anew has closed them: asked first, a statement never meets that.
        pool_pre_ping=True,
    )


class PooledPostgresStorage(DagsterPostgresStorage):
    """What dagster-postgres does, on connections of the process; its settings are the same."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: "ConfigurableClassData | None" = None,
        token_provider: "PgTokenProvider | None" = None,
    ) -> None:
        if token_provider is not None:
            # Its engines ask for a new token at each connection; they are left as they are.
            super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
            return
        super().__init__(postgres_url, False, inst_data)
        engine = _engine(postgres_url)
        for part in (self.run_storage, self.event_log_storage, self.schedule_storage):
            vars(part)["_engine"] = engine
            keep_answers(part, postgres_url)
        if should_autocreate_tables and not set(inspect(engine).get_table_names()) >= _MADE:
            DagsterPostgresStorage(postgres_url)

    @classmethod
    def from_config_value(
        cls, inst_data: "ConfigurableClassData | None", config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """Implements Dagster's ConfigurableClass."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )
