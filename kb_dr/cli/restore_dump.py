"""`kb-dr restore` of dumps and local files: a database beside, or in another one's place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kb_dr.cli.opened import progress
from kb_dr.cli.output import print_json, print_table, say, size
from kb_dr.errors import ConfigurationError

if TYPE_CHECKING:
    from kb_dr.cli.load_words import LoadOptions
    from kb_dr.cli.replace import Consent
    from kb_dr.domain.backup_id import BackupId
    from kb_dr.domain.load_plan import LoadPlan, Part
    from kb_dr.installation import Installation
    from kb_dr.operations.load_dump import Loaded
    from kb_dr.operations.swap_database import RollBackPlan


def restore_dump(
    opened: Installation,
    load: LoadOptions,
    backup: BackupId | None,
    copy: str | None,
    into: str | None,
    consent: Consent,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Show the plan, ask where something is replaced, carry it out."""
    from kb_dr.domain.load_plan import Part
    from kb_dr.installation.loading import LoadWords
    from kb_dr.operations.plan_load import require_consent
    from kb_dr.operations.swap_database import next_steps

    if consent.roll_back:
        _roll_back(opened, into, consent, dry_run=dry_run, as_json=as_json)
        return
    words = LoadWords(
        file=load.file,
        backup=backup,
        copy=copy,
        into=into,
        replace=consent.replace,
        checksum=not load.no_checksum,
    )
    part = Part(
        tables=load.tables,
        schemas=load.schemas,
        owners=not load.no_owners,
        grants=not load.no_grants,
        make_roles=load.make_roles,
        jobs=load.jobs or opened.settings.load_jobs,
    )
    plan = opened.plan_load(words, part, progress())
    if not as_json:
        print_table("Plan", ("", ""), _rows(plan))
    if dry_run:
        if as_json:
            print_json({"plan": _values(plan), "done": False})
        else:
            say("dry run: nothing was changed")
        return
    if plan.replaces is not None:
        typed = _typed(plan.replaces, plan.service, consent, production=plan.production)
        require_consent(plan, force_production=consent.force_production, typed=typed)
    loaded = opened.load(plan, words, progress())
    if as_json:
        print_json(
            {
                "plan": _values(plan),
                "done": True,
                "database": loaded.database,
                "kept": plan.kept,
                "compared": loaded.compared,
                "sessions_ended": loaded.sessions_ended,
                "phases": loaded.phases,
                "notes": loaded.notes,
                "next_steps": list(next_steps(plan)),
            }
        )
    else:
        _print_loaded(loaded)


def _typed(name: str, service: str, consent: Consent, *, production: bool) -> str | None:
    """The service's name as a person typed it, or gave it; raises unless somebody says yes."""
    if production and not consent.force_production:
        return None  # refused whatever is typed
    typed = consent.confirm_service
    if sys.stdin.isatty() and not consent.yes:
        word = service if production else name
        click.echo(f"This ends the sessions in database {name}, and replaces it.", err=True)
        typed = click.prompt(f"Type {word} to go on", default="", show_default=False, err=True)
        if not production and typed != name:
            raise ConfigurationError(
                f"replace database {name}: typed was {typed!r}, expected {name!r}",
                hint="Nothing was changed.",
            )
    elif not consent.yes:
        raise ConfigurationError(
            f"replace database {name}: not confirmed; this is only the plan",
            hint="Nothing was changed. To do it: add --yes"
            + (f" --confirm-service {service}" if production and typed is None else ""),
        )
    return typed


def _roll_back(
    opened: Installation, into: str | None, consent: Consent, *, dry_run: bool, as_json: bool
) -> None:
    plan = opened.plan_roll_back(into)
    if not as_json:
        print_table("Plan", ("", ""), _roll_back_rows(plan))
    if dry_run:
        if as_json:
            print_json({"plan": plan, "done": False})
        else:
            say("dry run: nothing was changed")
        return
    typed = _typed(plan.name, plan.service, consent, production=plan.production)
    if plan.production and (not consent.force_production or typed != plan.service):
        raise ConfigurationError(
            f"roll back database {plan.name}: it is production of service {plan.service}",
            hint=f"Nothing was changed. Give --force-production --confirm-service {plan.service} "
            "--yes.",
        )
    done = opened.roll_back_load(plan, into)
    if as_json:
        print_json({"plan": plan, "done": True, "phases": done.phases})
        return
    say(f"Database {plan.name} is the old one again; {done.sessions_ended} sessions were ended.")
    say(f"The restored one is kept as {plan.undone}; kb-dr never drops it.")


def _roll_back_rows(plan: RollBackPlan) -> tuple[tuple[str, str], ...]:
    return (
        ("server", plan.server),
        ("database", f"{plan.name}, restored from {plan.restored_from}"),
        ("becomes again", plan.kept),
        ("the restored one is kept as", plan.undone),
    )


def _values(plan: LoadPlan) -> dict[str, object]:
    from kb_dr.domain.load_plan import StoredDump

    what = plan.what
    source: dict[str, object]
    if isinstance(what, StoredDump):
        source = {
            "backup": what.manifest.id,
            "manifest_digest": what.stored.digest,
            "copy": what.copy,
            "url": what.url,
            "bytes_spooled": plan.spooled_bytes,
        }
    else:
        source = {
            "file": str(what.path),
            "format": what.form,
            "size_bytes": what.size_bytes,
            "checksum": what.checksum,
        }
    return {
        **source,
        "server": plan.server,
        "into": plan.url,
        "database": plan.made,
        "replaces": plan.replaces,
        "kept_as": plan.kept,
        "production": plan.production,
        "tables": plan.part.tables,
        "schemas": plan.part.schemas,
        "jobs": plan.part.jobs,
        "extensions": plan.extensions,
        "roles_created": plan.make_roles,
        "notes": plan.notes,
    }


def _rows(plan: LoadPlan) -> list[tuple[str, str]]:
    from kb_dr.domain.load_plan import StoredDump

    what, part = plan.what, plan.part
    rows = []
    if isinstance(what, StoredDump):
        rows.append(("dump", f"{what.manifest.id} of {what.copy} ({what.url})"))
        rows.append(("size", f"{size(what.manifest.plain_bytes)} in the scratch directory"))
    else:
        rows.append(("file", f"{what.path} ({what.form}, {size(what.size_bytes)})"))
    rows.append(("what", "all of it" if part.is_whole else _said(part)))
    rows.append(("server", plan.server))
    rows.append(("new database", plan.made))
    if plan.replaces is not None:
        own = f"PRODUCTION of service {plan.service}" if plan.production else "not production"
        rows.append(("replaces", f"{plan.replaces}: {own}"))
        rows.append(("the old one is kept as", plan.kept or ""))
    extensions = ", ".join(f"{n} {v}".strip() for n, v in sorted(plan.extensions.items()))
    rows.append(("extensions", extensions or "none"))
    if plan.make_roles:
        rows.append(("roles created", ", ".join(plan.make_roles)))
    rows += (("note", line) for line in plan.notes)
    return rows


def _said(part: Part) -> str:
    tables = [f"table {each}" for each in part.tables]
    return ", ".join([*tables, *(f"schema {each}" for each in part.schemas)])


def _print_loaded(loaded: Loaded) -> None:
    from kb_dr.operations.swap_database import next_steps

    plan = loaded.plan
    print_table(
        f"Restored into database {loaded.database}",
        ("phase", "seconds", "bytes"),
        ((p.name, f"{p.seconds:.2f}", size(p.size_bytes)) for p in loaded.phases),
        caption=loaded.compared,
    )
    for note in loaded.notes[len(plan.notes) :]:
        say(f"note: {note}")
    if plan.replaces is not None:
        say(f"{loaded.sessions_ended} sessions were ended; the old database is {plan.kept}")
    say("What to do now:")
    for number, step in enumerate(next_steps(plan), 1):
        say(f"  {number}. {step}")
