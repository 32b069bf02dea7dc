"""Build a sandbox, or start again what of it does not run."""

from collections.abc import Callable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from kb_dr.installation import Installation, open_installation
from kb_dr.sandbox.alert_part import alert_settings, start_alerts
from kb_dr.sandbox.clusters import CATALOG, MAJOR, programs, query, start_cluster
from kb_dr.sandbox.dagster_services import PAGES_URL
from kb_dr.sandbox.fill import fill, is_filled
from kb_dr.sandbox.places import (
    BUCKETS,
    DATABASE,
    SUPERUSER,
    Places,
    State,
    claim,
    locked,
    open_places,
    read_state,
    write_private,
)
from kb_dr.sandbox.regions import start_region
from kb_dr.settings import load_settings

DEFAULT_ENTRIES = 20_000

_SAID_BY_NOBODY = (
    "KB_DR_SERVICE", "KB_DR_ORG", "KB_DR_DB_PASSWORD_FILE", "KB_DR_DB_SSLMODE",
    "KB_DR_CRITICAL_TABLES", "KB_DR_REPOSITORY_REGION", "KB_DR_REPOSITORY_SSE_KMS_KEY_ID",
    "KB_DR_OFFSITE_REGION", "KB_DR_OFFSITE_SSE_KMS_KEY_ID", "KB_DR_POSTGRES_OS_USER",
)  # fmt: skip


def up(
    directory: Path, *, entries: int = DEFAULT_ENTRIES, say: Callable[[str], None] = print
) -> Places:
    """Bring everything up: two regions, Dagster's storage, production with its rows.

    What runs is left alone, so a second call changes nothing. Raises SandboxError, and leaves
    what was built for the next call to go on with. A production that was lost is left lost: it is
    for a restore to bring it back.
    """
    with locked(directory):
        return _up(directory, entries, say)


def _up(directory: Path, entries: int, say: Callable[[str], None]) -> Places:
    places, state, new = claim(directory, entries)
    if new:
        say(f"building a sandbox in {places.root}")
    write_private(places.identity, state.secrets.age_identity.encode() + b"\n")
    write_private(places.catalog_password, state.secrets.postgres.encode() + b"\n")
    say(f"PostgreSQL {MAJOR}: {programs().version} (installed on first use)")
    for copy in BUCKETS:
        state = start_region(places, state, copy)
    state = start_alerts(places, state)
    state = start_cluster(places, state, "storage")
    write_environment(places, state)
    if is_lost(places, state):
        say("production is lost: its data directory is gone")
    else:
        state = _production(places, state, say)
    write_environment(places, state)
    return places


def is_lost(places: Places, state: State) -> bool:
    """Whether production was there and its data directory is gone."""
    return "production" in state.ports and not places.data("production").exists()


def write_environment(places: Places, state: State) -> None:
    """The settings of kb-dr for this sandbox; they hold secrets.

    What somebody added to the file stays, a third copy above all.
    """
    lines = {
        "KB_DB_HOST": "127.0.0.1",
        "KB_DB_PORT": str(state.ports.get("production", 5432)),
        "KB_DB_NAME": DATABASE,
        "KB_DB_USER": SUPERUSER,
        "KB_DB_PASSWORD": state.secrets.postgres,
        "KB_DR_SOURCE_DATA_DIRECTORY": str(places.data("production")),
        "KB_DR_AGE_RECIPIENTS": state.secrets.age_recipient,
        "KB_DR_AGE_IDENTITY_FILE": str(places.identity),
        "KB_DR_POSTGRES_BIN_DIRS": str(programs().bin_dir),
        "KB_DR_SCRATCH_DIR": str(places.scratch),
        "KB_DR_STATE_DIR": str(places.root / "state"),
        # A story lasts minutes: whatever the hour, nothing happens in it that is not told.
        "KB_DR_INCREMENTAL_SCHEDULE": "off",
        "KB_DR_DAGSTER_PG_HOST": "127.0.0.1",
        "KB_DR_DAGSTER_PG_PORT": str(state.ports["storage"]),
        "KB_DR_DAGSTER_PG_USER": SUPERUSER,
        "KB_DR_DAGSTER_PG_PASSWORD": state.secrets.postgres,
        "KB_DR_DAGSTER_PG_DB": "dagster",
        "KB_DR_CATALOG_URL": (
            f"postgresql://{SUPERUSER}@127.0.0.1:{state.ports['storage']}/{CATALOG}"
        ),
        "KB_DR_CATALOG_PASSWORD_FILE": str(places.catalog_password),
    }
    for copy, stem in (("primary", "KB_DR_REPOSITORY"), ("offsite", "KB_DR_OFFSITE")):
        lines |= {
            f"{stem}_URL": f"s3://{BUCKETS[copy]}/default",
            f"{stem}_ENDPOINT_URL": f"http://127.0.0.1:{state.ports[f'region-{copy}']}",
            f"{stem}_ACCESS_KEY_ID": state.secrets.s3_key,
            f"{stem}_SECRET_ACCESS_KEY": state.secrets.s3_secret,
        }
    # What is not said here must not come from a kb_dr.yaml that lies where a person types.
    lines = dict.fromkeys(_SAID_BY_NOBODY, "") | lines
    written = _written(places)
    lines = {PAGES_URL: ""} | written | lines | alert_settings(state, written)
    write_lines(places, lines)


def write_lines(places: Places, lines: Mapping[str, str]) -> None:
    """The file of settings; it appears whole."""
    text = "# Written by `kb-dr sandbox up`; it holds secrets. Other settings may be added.\n"
    text += "".join(f"{name}={_quoted(value)}\n" for name, value in lines.items())
    write_private(places.env_file, text.encode())


def note_pages(directory: Path, url: str) -> None:
    """Let alerts lead to Dagster's pages, which have a new address at each start."""
    places = open_places(directory)
    with locked(directory):
        write_lines(places, _written(places) | {PAGES_URL: url})


def _written(places: Places) -> dict[str, str]:
    if not places.env_file.is_file():
        return {}
    found = dotenv_values(places.env_file, interpolate=False)
    return {name: value for name, value in found.items() if value is not None}


def _quoted(value: str) -> str:
    """As python-dotenv reads it: between single quotes only \\ and ' are special."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def installation_of(directory: Path) -> Installation:
    """kb-dr as the sandbox configures it; the environment of the caller has no say."""
    places = open_places(directory)
    return open_installation(load_settings({}, env_file=places.env_file))


def _production(places: Places, state: State, say: Callable[[str], None]) -> State:
    installation = installation_of(places.root)
    for copy in installation.copies:
        installation.initialise(copy)
    state = start_cluster(places, state, "production")
    # Before the first segment is archived: its archive_command reads the settings.
    write_environment(places, state)
    if not is_filled(state):
        say(f"filling the knowledge base with {state.entries:,} entries")
        fill(state, state.entries)
    return state


def state_of(directory: Path) -> State:
    """What the sandbox in this directory remembers."""
    return read_state(open_places(directory))


def count_entries(directory: Path) -> int:
    """Rows in the knowledge base now."""
    rows = query(state_of(directory), "production", "select count(*) from knowledge_entries")
    return int(rows[0][0])
