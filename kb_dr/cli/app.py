"""The command tree: each verb is imported only when it is called."""

import importlib
import logging
import os
import sys
import traceback
from types import TracebackType

import click

from kb_dr import __version__, logs
from kb_dr.errors import KbDrError
from kb_dr.scrub import scrub

logger = logging.getLogger(__name__)

INTERRUPTED = 130
"""What a shell calls a program that Ctrl-C ended."""

_VERBS = {
    "status": ("kb_dr.cli.status", "Can we recover now? Exit 0 only if all objectives hold."),
    "watch": ("kb_dr.cli.watch", "Every check that watches, each as it is now."),
    "list": ("kb_dr.cli.list_backups", "The backups of a repository."),
    "show": ("kb_dr.cli.show", "One backup forward to its proofs; or a proof, back."),
    "init": ("kb_dr.cli.init", "Make the repositories ready; once."),
    "backup": ("kb_dr.cli.backup", "Take a backup."),
    "copy": ("kb_dr.cli.copy", "Bring backups and WAL to the further copies; mend one."),
    "validate": ("kb_dr.cli.validate", "Re-read what is stored against its manifest."),
    "verify": ("kb_dr.cli.verify", "Restore into scratch, look, and leave a proof."),
    "controls": ("kb_dr.cli.controls", "Does the verifier see damage? Void proofs if not."),
    "restore": ("kb_dr.cli.restore", "Restore into a new directory, or in place."),
    "drill": ("kb_dr.cli.drill", "Walk the whole way back, to a random time, and time it."),
    "hold": ("kb_dr.cli.hold", "Keep retention from a backup, until it is released."),
    "release": ("kb_dr.cli.release", "End the holds of a backup."),
    "retention": ("kb_dr.cli.retention", "What goes and why; let it go; bring it back."),
    "catalog": ("kb_dr.cli.catalog", "The database of backups: sync, rebuild, check."),
    "wal": ("kb_dr.cli.wal", "Archive, stream, fetch and audit WAL."),
    "report": ("kb_dr.cli.report", "What is kept, why, and what was shown of it."),
    "metrics": ("kb_dr.cli.metrics", "What Prometheus is told: once, served, a file, pushed."),
    "keys": ("kb_dr.cli.keys", "Do the keys held here open everything that is stored?"),
    "heartbeat": ("kb_dr.cli.heartbeat", "Beat in the source, so that RPO is a measurement."),
    "cloudwatch": ("kb_dr.cli.cloudwatch", "Alarms, dashboard and metrics in CloudWatch."),
    "alerts": ("kb_dr.cli.alerts", "What is the matter; who takes care of it; test channels."),
    "doctor": ("kb_dr.cli.doctor", "Test every setting and dependency."),
    "sandbox": ("kb_dr.cli.sandbox", "A production of your own to try things on."),
    "ui": ("kb_dr.cli.ui", "Sandbox and Dagster's pages; Ctrl-C ends all of it."),
    "demo": ("kb_dr.cli.demo", "The whole story: backup, disaster, restore, proof."),
}


class _Verbs(click.Group):
    """A group whose commands are loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _VERBS:
            return None
        module, _ = _VERBS[name]
        command: click.Command = importlib.import_module(module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _VERBS.items()])


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kb-dr")
@click.option(
    "--env-file", metavar="FILE", help="Read settings from FILE; .env.example lists them all."
)
@click.option("--verbose", "-v", is_flag=True, help="Say more on stderr.")
def app(env_file: str | None, verbose: bool) -> None:
    """Back up a knowledge service, and prove what can be restored."""
    if env_file is not None:
        # Where settings look for it; children inherit it.
        os.environ["KB_DR_ENV_FILE"] = os.path.abspath(env_file)
    configure_logging(logging.DEBUG if verbose else logging.INFO)


def configure_logging(level: int, log_format: str = "", service: str = "") -> None:
    """Logs go to stderr with UTC times (ISO 8601); results go to stdout.

    Before the settings are read the form is that of the environment.
    """
    asked = log_format or os.environ.get("KB_DR_LOG_FORMAT", "").strip().lower()
    logs.configure(level, log_format=logs.JSON if asked == logs.JSON else logs.TEXT,
                   service=service)  # fmt: skip
    sys.excepthook = _say_bug


def _say_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A bug of ours: as Python says it, without the secrets it may quote."""
    if logs.is_json():
        logger.critical("a bug: %s", kind.__name__, exc_info=(kind, error, trace))
    else:
        click.echo(scrub("".join(traceback.format_exception(kind, error, trace))), err=True,
                   nl=False)  # fmt: skip


def run(words: list[str]) -> int:
    """Run one command; errors become one line, a hint and the exit code of its kind."""
    try:
        result = app.main(args=words, prog_name="kb-dr", standalone_mode=False)
    except KbDrError as error:
        say_error(error)
        return error.exit_code
    except click.exceptions.Abort:
        click.echo("\ninterrupted; nothing half-done counts as done", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        if "status" in words and "--nagios" in words:
            return say_wrong_words_to_nagios(error)
        error.show()
        if isinstance(error, click.NoSuchOption) and error.option_name == "--env-file":
            click.echo("hint: it stands before the verb: kb-dr --env-file FILE VERB", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("\ninterrupted; nothing half-done counts as done", err=True)
        return INTERRUPTED
    except OSError as error:
        # Of this machine, at a place that has no better words for it.
        logger.debug("where it came from", exc_info=True)
        what = f"use {error.filename}" if error.filename else f"run kb-dr {words[0]}"
        say_error(
            KbDrError(
                f"{what}: {error.strerror or error}",
                hint="Nothing half-done counts as done. `kb-dr doctor` tests what is needed here.",
            )
        )
        return KbDrError.exit_code
    return result if isinstance(result, int) else 0


def say_wrong_words_to_nagios(error: click.ClickException) -> int:
    """As `kb-dr status --nagios` says whatever it could not do."""
    from kb_dr.cli.nagios import say_wrong_words

    return say_wrong_words(error)


def say_error(error: KbDrError) -> None:
    """One error, the way a person reads it at night; as one object where logs are JSON."""
    if logs.is_json():
        logger.error(
            "%s", error, extra={"hint": error.hint, "exit_code": error.exit_code,
                                "error": type(error).__name__}
        )  # fmt: skip
        return
    click.echo(scrub(f"error: {error}"), err=True)
    if error.hint:
        click.echo(scrub(f"hint: {error.hint}"), err=True)
