"""The services of deploy/compose start in their order, are well by their own checks, and work.

Without an engine and its images: see kb_dr_tests/containers.py for what stands in for them.
"""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr_tests.containers import Deployment, compose_model

_QUESTION = """
import json
from kb_dr.sandbox.dagster_questions import daemons_healthy, location_loaded
url = "http://127.0.0.1:3000"
print(json.dumps([location_loaded(url), daemons_healthy(url)]))
"""


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    assert os.geteuid() == 0, "it takes root to make namespaces, and to become other users"
    # The path of a socket may be 107 bytes long; pytest's directories are longer than that.
    directory = Path(tempfile.mkdtemp(prefix="kbdr-pod-", dir="/tmp"))
    directory.chmod(0o755)  # its users are others than ours
    made = Deployment(directory, compose_model("kb-db,s3,prepare"))
    try:
        prepared = made.run("prepare")
        assert prepared.returncode == 0, prepared.stderr
        for name in ("daemon", "wal-stream"):
            made.start(name)
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory)


def test_the_services_work_together(deployment: Deployment) -> None:
    """From a clean machine to a proven backup; with no privilege, on read-only roots."""
    assert set(deployment.running) == set(deployment.model["services"]) - {"prepare"}
    for name in ("wal-stream", "daemon"):
        deployment.wait_until_healthy(name)

    asked = deployment.execute("webserver", "python", "-c", _QUESTION)
    assert json.loads(asked.stdout) == [True, True], asked.stderr

    doctor = deployment.execute("code-location", "kb-dr", "doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "slot kb_dr is active" in doctor.stdout

    backup = deployment.execute("code-location", "kb-dr", "backup", "full", "--copy")
    assert backup.returncode == 0, backup.stderr

    proof = deployment.execute("code-location", "kb-dr", "verify", "latest")
    assert proof.stdout.startswith("PROVEN"), proof.stdout + proof.stderr
    assert "from offsite" in proof.stdout.splitlines()[0]

    made = "/var/lib/kb-dr/restored/data"
    restored = deployment.execute("code-location", "kb-dr", "restore", "--latest", "--into", made)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert (deployment.directory / "volumes" / "restored" / "data" / "PG_VERSION").exists()


def test_a_health_check_says_no(deployment: Deployment) -> None:
    """Each of ours, where nothing of that service runs."""
    alone = Deployment(deployment.directory / "alone", deployment.model)
    (deployment.directory / "alone").mkdir(mode=0o755)
    shutil.copytree(deployment.secrets, alone.directory / "secrets")
    for file in (alone.directory / "secrets").iterdir():
        os.chown(file, 1000, 1000)
    try:
        alone.start("network")
        for name, service in deployment.model["services"].items():
            test = service.get("healthcheck", {}).get("test", ["", ""])
            if test[1] in ("kb-dr-answers", "kb-dr-stream-is-read"):
                healthy, said = alone.is_healthy(name)
                assert not healthy, f"{name}: {said}"
    finally:
        alone.stop()


def test_passwords_are_asked_for_on_loopback_too(deployment: Deployment) -> None:
    for port, user in (("5432", "postgres"), ("5433", "dagster")):
        words = [
            "psql",
            "--no-password",
            "-h",
            "127.0.0.1",
            "-p",
            port,
            "-U",
            user,
            "-c",
            "select 1",
        ]
        refused = deployment.execute("kb-db", *words)
        assert "no password supplied" in refused.stderr


def test_secrets_lie_where_nobody_else_gets_in(deployment: Deployment) -> None:
    assert stat.S_IMODE(deployment.secrets.stat().st_mode) == 0o700
