"""`kb-dr metrics`: wrong words are refused before anything is looked at, and no secret is said."""

import socket
from pathlib import Path

import pyrage
import pytest

from kb_dr.cli.app import run
from kb_dr.errors import ConfigurationError


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service of which nothing was set up yet."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "KB_DB_HOST": str(tmp_path),
        "KB_DR_REPOSITORY_URL": str(tmp_path / "primary"),
        "KB_DR_AGE_RECIPIENTS": str(pyrage.x25519.Identity.generate().to_public()),
        "KB_DR_SCRATCH_DIR": str(tmp_path / "scratch"),
        "KB_DR_STATE_DIR": str(tmp_path / "state"),
    }.items():
        monkeypatch.setenv(name, text)


def test_of_a_service_that_answers_nothing_only_that_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["metrics"]) == 0

    text = capsys.readouterr().out
    assert 'kb_dr_copy_readable{copy="primary",service="kb"} 0.0\n' in text
    assert 'kb_dr_source_up{service="kb"} 0.0\n' in text
    assert 'kb_dr_objectives_hold{service="kb"} 0.0\n' in text
    assert "backup_postgres" not in text
    assert "kb_dr_recoverable" not in text


def test_settings_with_which_nothing_can_be_told_are_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KB_DR_AGE_RECIPIENTS", "")

    assert run(["metrics"]) == 0

    said = capsys.readouterr()
    assert "not measured: " in said.err
    assert "no recipient to encrypt to" in said.err
    assert "kb_dr_last_look_timestamp_seconds{" in said.out
    assert "kb_dr_objective_holds" not in said.out


@pytest.mark.parametrize("words", ["nonsense", ":9464", "127.0.0.1:", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", "serve", "--listen", words]) == ConfigurationError.exit_code
    assert "expected HOST:PORT" in capsys.readouterr().err


def test_an_address_that_is_taken_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        assert run(["metrics", "serve", "--listen", address]) == ConfigurationError.exit_code

    assert f"serve metrics on {address}: Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ([], "no address"),
        (["ftp://127.0.0.1"], "expected http://HOST:PORT"),
        (["http://me:planted-secret@127.0.0.1:1"], "holds a user or a password"),
        (["http://127.0.0.1:1"], "refused"),
    ],
)
def test_a_pushgateway_that_cannot_be_is_refused(
    words: list[str], seen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["metrics", "push", *words]) != 0

    said = capsys.readouterr()
    assert seen in said.err
    assert "hint: " in said.err
    assert "planted-secret" not in said.out + said.err


def test_the_pushgateway_of_the_settings_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KB_DR_PUSHGATEWAY_URL", "http://127.0.0.1:1")

    assert run(["metrics", "push"]) != 0

    assert "push metrics to http://127.0.0.1:1: connection refused" in capsys.readouterr().err
