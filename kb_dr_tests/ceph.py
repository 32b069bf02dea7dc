"""A one-machine Ceph with its S3 gateway: enforces put-if-absent, versions and object lock.

Debian's radosgw, ceph-mon and ceph-osd, on loopback, without authentication inside; data in a
directory of its own, ended and removed with the block. Started by root it runs as the user
``ceph`` its packages made; started by anybody else it runs as that user.
"""

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from kb_dr_tests.object_stores import (
    Program,
    RunningStore,
    StoreDidNotStart,
    answers_http,
    free_port,
    on_a_free_port,
)

COMMAND_SECONDS = 60

_CONFIGURATION = """
[global]
fsid = {cluster}
mon host = [v1:127.0.0.1:{mon_port}/0]
mon initial members = a
ms bind msgr2 = false
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
keyring = {home}/keyring
log file = {home}/$name.log
admin socket = {home}/$name.asok
run dir = {home}

# one copy on one disk: nothing of this is for production
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 0

# a monitor alone need not wait for others: starts in 6 s instead of 18
paxos propose interval = 0.05
paxos min wait = 0.02
osd heartbeat interval = 1
osd memory target = 939524096
osd op num shards = 2
osd objectstore = bluestore
# sparse
bluestore block size = 8589934592
bluestore block create = true

mon data = {home}/mon
osd data = {home}/osd
rgw data = {home}/rgw
rgw dns name = localhost
rgw run sync thread = false
rgw enable usage log = false
rgw crypt require ssl = false
# a "day" of a lifecycle rule lasts 4 s
rgw lc debug interval = 4
# at any hour: by itself it works between midnight and six alone
rgw lifecycle work time = 00:00-23:59
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
"""


class CephStore(RunningStore):
    """A monitor, one disk, and a gateway."""

    def __init__(self) -> None:
        # Not below the directories of pytest: the user ceph may not go through those.
        super().__init__(Path(tempfile.mkdtemp(prefix="kb-dr-ceph-", dir="/tmp")))
        self._user = "ceph" if os.geteuid() == 0 else None
        self._programs: list[Program] = []

    def start(self) -> None:
        missing = [name for name in ("ceph-mon", "ceph-osd", "radosgw") if not shutil.which(name)]
        if missing:
            raise StoreDidNotStart(f"{missing} not installed: run scripts/install-test-programs")
        on_a_free_port(self, self._start_all)

    def stop(self) -> None:
        self._end_programs()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start_all(self) -> None:
        home = self.directory / uuid.uuid4().hex[:8]
        try:
            self._prepare(home)
            self._start_monitor(home)
            self._start_disk(home)
            self._start_gateway(home)
        except BaseException:
            self._end_programs()
            raise

    def _prepare(self, home: Path) -> None:
        self._cluster = str(uuid.uuid4())
        self._mon_port = free_port()
        for folder in (home, home / "mon", home / "osd", home / "rgw"):
            folder.mkdir()
        (home / "keyring").touch()
        self._config = home / "ceph.conf"
        self._config.write_text(
            _CONFIGURATION.format(
                cluster=self._cluster, mon_port=self._mon_port, home=home, port=self.port
            )
        )
        if self._user is not None:
            for path in (self.directory, home, *home.iterdir()):
                shutil.chown(path, self._user, self._user)

    def _start_monitor(self, home: Path) -> None:
        monmap = str(home / "monmap")
        address = f"[v1:127.0.0.1:{self._mon_port}]"
        self._run("monmaptool", "--create", "--fsid", self._cluster, "--addv", "a", address, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._daemon(home, "ceph-mon", "-i", "a").wait_until(
            lambda: self._says("ceph", "--connect-timeout", "5", "mon", "stat") is not None
        )

    def _start_disk(self, home: Path) -> None:
        disk = str(uuid.uuid4())
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", disk)
        daemon = self._daemon(home, "ceph-osd", "-i", "0")
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "host=h", "root=default")
        daemon.wait_until(lambda: "1 up" in (self._says("ceph", "osd", "stat") or ""))

    def _start_gateway(self, home: Path) -> None:
        daemon = self._daemon(home, "radosgw", "-n", "client.rgw.a")
        daemon.wait_until(lambda: answers_http(self.port))
        self._run(
            "radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests",
            f"--access-key={self.access_key_id}", f"--secret-key={self.secret_access_key}",
        )  # fmt: skip

    def _daemon(self, home: Path, name: str, *arguments: str) -> Program:
        program = Program(
            [name, "-c", str(self._config), "-f", *arguments],
            self.directory / f"{home.name}-{name}.out",
            user=self._user,
        )
        self._programs.append(program)
        return program

    def _end_programs(self) -> None:
        # The gateway first: it hangs once its disk is gone. One that has lifecycle rules to carry
        # out does not end by itself, either; nothing of its data is needed.
        while self._programs:
            self._programs.pop().stop(5.0)

    def _run(self, name: str, *arguments: str) -> str:
        done = self._completed(name, *arguments)
        if done.returncode != 0:
            raise StoreDidNotStart(f"{name} {arguments[0]}: {done.stdout[-2000:]}")
        return done.stdout

    def _says(self, name: str, *arguments: str) -> str | None:
        try:
            done = self._completed(name, *arguments)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout if done.returncode == 0 else None

    def _completed(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        config = [] if name == "monmaptool" else ["-c", str(self._config)]
        # The working directory may be one that user may not enter.
        return subprocess.run(
            [name, *config, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            cwd=self.directory,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
