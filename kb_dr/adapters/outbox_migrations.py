"""The tables of the alerts, as numbered steps: each is carried out once, in order, for ever.

They stand beside the catalog's and are no view of anything: a rebuild of the catalog leaves them
alone. ``body`` is the whole value; the other columns are for those who ask with SQL.
"""

OUTBOX_MIGRATIONS: tuple[str, ...] = (
    """
create table alert_log (
    id text primary key,
    key text not null,
    kind text not null,
    severity text not null,
    title text not null,
    opened_at timestamptz not null,
    last_seen_at timestamptz not null,
    closed_at timestamptz,
    acknowledged_at timestamptz,
    body jsonb not null
);
create index alert_log_open on alert_log (id) where closed_at is null;
create index alert_log_key on alert_log (key, last_seen_at desc);
create index alert_log_closed on alert_log (closed_at) where closed_at is not null;
create table alert_deliveries (
    id text primary key,
    alert_id text not null,
    channel text not null,
    what text not null,
    sequence bigint not null,
    state text not null,
    created_at timestamptz not null,
    finished_at timestamptz,
    body jsonb not null
);
create index alert_deliveries_unsent on alert_deliveries (channel, sequence)
    where state in ('pending', 'sending');
create index alert_deliveries_alert on alert_deliveries (alert_id);
create index alert_deliveries_sequence on alert_deliveries (sequence);
create table alert_notices (
    id text primary key,
    taken_at timestamptz not null
);
create index alert_notices_taken on alert_notices (taken_at);
create table alert_channels (
    name text primary key,
    body jsonb not null
);
""",
)
