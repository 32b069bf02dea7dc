"""A process that delivers alerts and is gone between the send and its record."""

import os
import sys
from pathlib import Path

from kb_dr.adapters.postgres_outbox import PostgresOutbox
from kb_dr.domain.message import Message
from kb_dr.settings import CatalogSettings
from kb_dr_tests.fake_channels import FakeChannel
from kb_dr_tests.made_alerts import AlertSite


def main(sockets: str, database: str, state: str, arrived: str) -> None:
    """Send the first message into a file, and die before that is noted."""
    slack = FakeChannel()

    def gone(message: Message) -> None:
        Path(arrived).write_text(message.id)
        os._exit(9)

    slack.after = gone
    settings = CatalogSettings(sockets, 5432, database, "postgres", None, "prefer")
    outbox = PostgresOutbox(settings, service="kb", org="default") if database else None
    AlertSite(Path(state), slack, database=outbox).deliver()


if __name__ == "__main__":
    main(*sys.argv[1:])
