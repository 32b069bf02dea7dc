#!/usr/bin/env bash
# Looks at a dump in a file without restoring it: a door to `kb-dr validate`.
set -euo pipefail

here="$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
# shellcheck source=scripts/kb-dr-door
. "$here/kb-dr-door"

usage() {
    cat <<'WORDS'
validate-backup.sh --backup-file FILE [--no-checksum] [--json]
    Report PASS or FAIL for a .sql.gz, .sql, .dump or .dir, with what was found. Nothing is restored,
    and nothing is changed.

--yes is accepted: nothing is asked. Exit code 0 for PASS, 60 for FAIL, 2 for wrong words, else that
of kb-dr (docs/troubleshooting.md).
WORDS
}

file=""
passed=()

while (($#)); do
    case "$1" in
        --backup-file) need_value "$1" $# && file="$2" && shift ;;
        --no-checksum | --json) passed+=("$1") ;;
        --yes) ;;
        -h | --help) usage && exit 0 ;;
        *) wrong_words "$1: not a word of validate-backup.sh" "validate-backup.sh --help shows every word." ;;
    esac
    shift
done

[[ -n "$file" ]] || wrong_words "validate: no --backup-file" "Give --backup-file FILE."
kb_dr validate "$(absolute "$file")" ${passed[@]+"${passed[@]}"}
