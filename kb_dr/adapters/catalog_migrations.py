"""The tables of the catalog, as numbered steps: each is carried out once, in order, for ever.

A step that was released is never changed; what is to be different is a new step. Names stand
without a schema: the search path says where, and a rebuild makes the same tables as temporary
ones first.
"""

MIGRATIONS: tuple[str, ...] = (
    # 1: the table people know
    """
create table backup_logs (
    id uuid primary key default gen_random_uuid(),
    backup_id varchar(255) unique not null,
    backup_type varchar(50) not null,
    backup_timestamp timestamptz not null,
    backup_size_bytes bigint,
    checksum_md5 varchar(32),
    checksum_sha256 varchar(64),
    location_local varchar(512),
    location_s3 varchar(512),
    status varchar(50) not null,
    recovery_tested boolean default false,
    test_timestamp timestamptz,
    recovery_time_seconds integer,
    created_at timestamptz default now(),
    verified_at timestamptz,
    purged_at timestamptz,
    error_message text
);
create index idx_backup_logs_timestamp on backup_logs (backup_timestamp desc);
create index idx_backup_logs_status on backup_logs (status);
create index idx_backup_logs_type on backup_logs (backup_type);
""",
    # 2: what lineage needs
    """
create table backup_manifests (
    backup_id varchar(255) primary key,
    digest varchar(64) not null,
    kind varchar(50) not null,
    engine text not null,
    parent varchar(255),
    parent_digest varchar(64),
    replaces varchar(255),
    started timestamptz not null,
    finished timestamptz not null,
    host text not null,
    source_host text not null,
    database text not null,
    server_version integer not null,
    system_identifier numeric(20) not null,
    timeline bigint not null,
    wal_start pg_lsn not null,
    wal_stop pg_lsn not null,
    restore_point text not null,
    restore_lsn pg_lsn not null,
    schema_version text,
    plain_bytes bigint not null,
    stored_bytes bigint not null,
    objects bigint not null
);
create index idx_backup_manifests_parent on backup_manifests (parent);
create index idx_backup_manifests_digest on backup_manifests (digest);
create table backup_copies (
    backup_id varchar(255) not null,
    copy varchar(50) not null,
    position integer not null,
    url text not null,
    location text not null,
    state varchar(50) not null,
    digest varchar(64),
    standing varchar(50) not null,
    proof_id varchar(255),
    problem text,
    primary key (backup_id, copy)
);
create table backup_proofs (
    id varchar(255) not null,
    backup_id varchar(255) not null,
    copy varchar(50) not null,
    url text not null,
    digest varchar(64),
    verdict varchar(50) not null,
    void boolean not null,
    to_the_end boolean not null,
    started timestamptz not null,
    finished timestamptz not null,
    rto_seconds double precision not null,
    reached_timeline bigint,
    reached_lsn pg_lsn,
    expected_lsn pg_lsn,
    newest_commit timestamptz,
    asked text,
    reason text not null,
    host text not null,
    primary key (backup_id, copy, id)
);
create index idx_backup_proofs_id on backup_proofs (id);
create index idx_backup_proofs_digest on backup_proofs (digest);
create table backup_holds (
    id varchar(255) not null,
    backup_id varchar(255) not null,
    action varchar(50) not null,
    at timestamptz not null,
    reason text not null,
    host text not null,
    releases text[] not null,
    in_force boolean not null,
    primary key (backup_id, id)
);
create table backup_purges (
    id varchar(255) not null,
    backup_id varchar(255) not null,
    copy varchar(50) not null,
    step varchar(50) not null,
    at timestamptz not null,
    reason text not null,
    host text not null,
    digest varchar(64) not null,
    primary key (backup_id, copy, id)
);
create table backup_failures (
    backup_id varchar(255) not null,
    attempt varchar(255) not null,
    failed_at timestamptz not null,
    error text not null,
    exit_code integer not null,
    message text not null,
    hint text not null,
    host text not null,
    primary key (backup_id, attempt)
);
create table backup_problems (
    backup_id varchar(255) not null,
    problem text not null
);
create index idx_backup_problems_backup on backup_problems (backup_id);
create table catalog_tokens (
    backup_id varchar(255) primary key,
    token varchar(64) not null
);
create table catalog_state (
    id smallint primary key default 1 check (id = 1),
    began timestamptz not null,
    finished timestamptz not null,
    backups bigint not null,
    copies jsonb not null
);
""",
)

VERSION = len(MIGRATIONS)
