#!/usr/bin/env bash
# Backs up the knowledge base into a file: a door to `kb-dr backup dump --to`.
set -euo pipefail

here="$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
# shellcheck source=scripts/kb-dr-door
. "$here/kb-dr-door"

usage() {
    cat <<'WORDS'
backup-kb.sh --local [--output-dir DIR] [--format plain|custom|directory] [--jobs N] [--json]
    Dump the database into DIR (by default KB_BACKUP_LOCAL_PATH): kb-backup-YYYYMMDD-HHMMSS.sql.gz,
    .dump or .dir, with .sha256 beside it. Its path and its SHA-256 go to stdout, a line each, and
    a summary to stderr.
backup-kb.sh --rds
    For Amazon RDS: not supported yet.

--yes is accepted: nothing is asked. Exit code 0 when it is done, 2 for wrong words, else that of
kb-dr (docs/troubleshooting.md); then nothing of it is left.
WORDS
}

way=""
directory=""
passed=()

choose() {
    if [[ -n "$way" && "$way" != "$1" ]]; then
        wrong_words "--$1: --$way was given, too" "Give one of --local and --rds."
    fi
    way="$1"
}

while (($#)); do
    case "$1" in
        --local | --rds) choose "${1#--}" ;;
        --output-dir) need_value "$1" $# && directory="$2" && shift ;;
        --format | --jobs) need_value "$1" $# && passed+=("$1" "$2") && shift ;;
        --json) passed+=("$1") ;;
        --yes) ;;
        -h | --help) usage && exit 0 ;;
        *) wrong_words "$1: not a word of backup-kb.sh" "backup-kb.sh --help shows every word." ;;
    esac
    shift
done

case "$way" in
    local)
        to=(--to)
        [[ -n "$directory" ]] && to+=("$(absolute "$directory")")
        status=0
        kb_dr backup dump "${to[@]}" ${passed[@]+"${passed[@]}"} || status=$?
        if ((status == 0)); then
            printf 'backup-kb.sh: done\n' >&2
        else
            printf 'backup-kb.sh: FAILED with exit code %d; nothing of it was left\n' "$status" >&2
        fi
        exit "$status"
        ;;
    rds)
        wrong_words "backup --rds: snapshots of Amazon RDS are not supported yet" \
            "They come with RDS support. A dump of any server kb-dr reaches: backup-kb.sh --local"
        ;;
    *)
        wrong_words "backup: nothing was asked for" "Give --local or --rds; --help shows every word."
        ;;
esac
