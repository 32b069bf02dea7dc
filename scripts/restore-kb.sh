#!/usr/bin/env bash
# Restores the knowledge base: a door to `kb-dr restore`, which says what it does before it does it.
set -euo pipefail

here="$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
# shellcheck source=scripts/kb-dr-door
. "$here/kb-dr-door"

usage() {
    cat <<'WORDS'
restore-kb.sh --local --backup-file FILE [--into postgresql://USER@HOST:PORT/NAME] [--dry-run]
    Restore a .sql.gz, .sql, .dump or .dir into a new database beside the one in service.
restore-kb.sh --local --backup-file FILE --replace --force-production [--yes --confirm-service NAME]
    Restore beside, verify, then let it take the place of the one in service, which is kept.
restore-kb.sh --rds --snapshot-id ID --target-instance NAME
restore-kb.sh --pitr --target-time TIME --target-instance NAME
    For Amazon RDS: not supported yet.

Words of `kb-dr restore --file` are passed on: --table, --schema, --jobs, --no-owners, --no-grants,
--globals, --no-checksum, --json. Exit code 0 when it is done, 2 for wrong words, else that of
kb-dr (docs/troubleshooting.md).
WORDS
}

way=""
file=""
snapshot=""
instance=""
time=""
replace=0
yes=0
passed=()

choose() {
    if [[ -n "$way" && "$way" != "$1" ]]; then
        wrong_words "--$1: --$way was given, too" "Give one of --local, --rds and --pitr."
    fi
    way="$1"
}

while (($#)); do
    case "$1" in
        --local | --rds | --pitr) choose "${1#--}" ;;
        --backup-file) need_value "$1" $# && file="$2" && shift ;;
        --snapshot-id) need_value "$1" $# && snapshot="$2" && shift ;;
        --target-instance) need_value "$1" $# && instance="$2" && shift ;;
        --target-time) need_value "$1" $# && time="$2" && shift ;;
        --yes) yes=1 ;;
        --replace) replace=1 && passed+=("$1") ;;
        --into | --confirm-service | --table | --schema | --jobs)
            need_value "$1" $# && passed+=("$1" "$2") && shift ;;
        --force-production | --no-owners | --no-grants | --globals | --no-checksum | --dry-run | --json)
            passed+=("$1") ;;
        -h | --help) usage && exit 0 ;;
        *) wrong_words "$1: not a word of restore-kb.sh" "restore-kb.sh --help shows every word." ;;
    esac
    shift
done

case "$way" in
    local)
        [[ -n "$file" ]] ||
            wrong_words "restore --local: no --backup-file" "Give --backup-file FILE."
        [[ -z "$snapshot$instance$time" ]] ||
            wrong_words "restore --local: it takes no snapshot, instance or time" \
                "Give --backup-file FILE alone."
        ((yes && replace)) && passed+=(--yes)
        status=0
        kb_dr restore --file "$(absolute "$file")" ${passed[@]+"${passed[@]}"} || status=$?
        if ((status == 0)); then
            printf 'restore-kb.sh: done, from %s\n' "$file" >&2
        else
            printf 'restore-kb.sh: FAILED with exit code %d, from %s\n' "$status" "$file" >&2
        fi
        exit "$status"
        ;;
    rds)
        [[ -n "$snapshot" && -n "$instance" ]] ||
            wrong_words "restore --rds: --snapshot-id and --target-instance belong to it" \
                "restore-kb.sh --help shows every word."
        wrong_words "restore --rds: snapshots of Amazon RDS are not supported yet" \
            "They come with RDS support. What kb-dr backed up is restored with: kb-dr restore --help"
        ;;
    pitr)
        [[ -n "$time" && -n "$instance" ]] ||
            wrong_words "restore --pitr: --target-time and --target-instance belong to it" \
                "restore-kb.sh --help shows every word."
        wrong_words "restore --pitr: point-in-time recovery of Amazon RDS is not supported yet" \
            "It comes with RDS support. A server of your own: kb-dr restore --target-time '$time' --into DIRECTORY"
        ;;
    *)
        wrong_words "restore: nothing was asked for" "Give --local, --rds or --pitr; --help shows every word."
        ;;
esac
