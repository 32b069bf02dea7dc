"""`kb-dr restore` over the WAL of a burst: what its phase of replay takes."""

import json
import shutil

from kb_dr.domain.manifest import Manifest, Source
from kb_dr.records import from_json
from kb_dr_tests.bench.contestants.kb_dr import KbDr
from kb_dr_tests.bench.descendants import Took, watching_descendants
from kb_dr_tests.bench.site import Site
from kb_dr_tests.bench.usage import clean_environment, run


class RestoringKbDr:
    """An installation that holds one base backup and the WAL since; it outlives the rounds."""

    def __init__(self, site: Site, store: str) -> None:
        self.contestant = KbDr(site, store, "wal-restored")
        self.cpu_seconds_before = 0.0
        """Of a restore without the burst."""
        self._target = site.directory / "wal-restored"

    def backup(self) -> Source:
        """Take the base backup; the cluster archives here meanwhile, and is described."""
        command = self.contestant.backup()
        ran = run(command.words, env={**clean_environment(), **command.environment})
        told = json.dumps(json.loads(ran.output)["manifest"]).encode()
        return from_json(Manifest, told, what="the backup's manifest").source

    def restore(self) -> tuple[float, Took]:
        """The seconds of its phase of replay; what the whole command took."""
        command = self.contestant.restore(self._target)
        try:
            with watching_descendants() as took:
                ran = run(command.words, env={**clean_environment(), **command.environment})
        finally:
            shutil.rmtree(self._target, ignore_errors=True)
        phases = {each["name"]: each["seconds"] for each in json.loads(ran.output)["phases"]}
        return phases["replay"], took
