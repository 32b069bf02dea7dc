"""A daemon that is gone once its alerts have arrived, and before it can note so."""

import json
import os
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import cast

import dagster as dg

from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.message import Message
from kb_dr.ports import Channel
from kb_dr_tests.alerted_channels import installed
from kb_dr_tests.alerted_definitions import World, alerted
from kb_dr_tests.listening import Alerts, Listening
from kb_dr_tests.made_installation import MadeInstallation


class Opened:
    """What the sensor opens."""

    def __init__(self, made: MadeInstallation) -> None:
        self._made = made

    def door(self) -> InstallationDoor:
        return InstallationDoor(lambda: self._made)


def sensor_of(
    instance: dg.DagsterInstance, made: MadeInstallation, cursor: str | None = None
) -> Alerts:
    """The real sensor over a real installation."""
    alerts = Alerts(instance, alerted(World()), cast(Listening, Opened(made)))
    alerts.cursor = cursor
    return alerts


class GoneAfterwards:
    """A channel whose process is gone once each of them has sent something."""

    def __init__(self, real: Channel, all_sent: threading.Barrier) -> None:
        self._real, self._all_sent = real, all_sent
        self.name, self.groups = real.name, real.groups

    def check(self) -> str:
        return self._real.check()

    def send(self, message: Message, *, tried_since: datetime | None) -> str:
        self._real.send(message, tried_since=tried_since)
        self._all_sent.wait(60)
        return ""


def main(given: str) -> None:
    """One tick, which never ends."""
    told = json.loads(Path(given).read_text())
    made = installed(Path(told["directory"]), told["settings"], catalog_url=told["catalog_url"])
    made.made_clock.set(datetime.fromisoformat(told["now"]))
    barrier = threading.Barrier(len(made.channels), action=lambda: os._exit(9))
    made.channels = tuple(GoneAfterwards(each, barrier) for each in made.channels)
    with dg.DagsterInstance.from_config(told["home"]) as instance:
        sensor_of(instance, made, told["cursor"]).tick()


if __name__ == "__main__":
    main(sys.argv[1])
