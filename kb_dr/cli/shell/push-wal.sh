# The archive_command: calls a segment archived that an earlier push stored ahead of its turn, or
# starts the program, which pushes it. `kb-dr wal archive-command` prints the line around it.
#
#   push-wal.sh NOTES SETTINGS|- SEGMENT PROGRAM [WORD...]
#
# A note (kb_dr.operations.push_notes) is written once a segment is stored and was looked at. It is
# believed once, within an hour and one start of the machine, and only while the segment is the very
# file that was pushed: its inode, size and both times, of which the kernel sets the last at any
# write; and while settings stand as that push read them: the file of SETTINGS, if one is given, and
# the variables that say where the repository is. Where others than these may, the program is asked.
notes=$1
settings=$2
segment=$3
shift 3
if [ "$settings" = - ]; then settings=; fi
note=$notes/${segment##*/}
believed() {
  [ -s "$note" ] && read -r boot < /proc/sys/kernel/random/boot_id && read -r up rest < /proc/uptime || return 1
  # What kb_dr.settings reads besides, and nothing here can compare.
  [ -z "${KB_DR_CONFIG+set}" ] && [ ! -e kb_dr.yaml ] || return 1
  [ -n "$settings" ] || { [ -z "$KB_DR_ENV_FILE" ] && [ ! -e .env ]; } || return 1
  {
    read -r noted_boot at && IFS= read -r file && IFS= read -r read_from && IFS= read -r place
  } < "$note" || return 1
  up=${up%%.*}
  [ "$noted_boot" = "$boot" ] && [ "$up" -ge "$at" ] && [ $((up - at)) -le 3600 ] || return 1
  here="$HOME|$AWS_ACCESS_KEY_ID|$AWS_REGION|$KB_BACKUP_LOCAL_PATH|$KB_BACKUP_S3_BUCKET|$KB_DR_ORG"
  here="$here|$KB_DR_REPOSITORY_ACCESS_KEY_ID|$KB_DR_REPOSITORY_ENDPOINT_URL"
  [ "$place" = "$here|$KB_DR_REPOSITORY_REGION|$KB_DR_REPOSITORY_URL" ] || return 1
  if [ -n "$settings" ] || [ -n "$read_from" ]; then
    file="$file
$read_from"
  fi
  seen=$(LC_ALL=C TZ=UTC0 stat -c '%d %i %s %y %z' -- "$segment" ${settings:+"$settings"}) || return 1
  [ "$seen" = "$file" ]
}
if believed 2> /dev/null && true 2> /dev/null > "$note"; then
  exit 0
fi
# For glibc, in the program: a segment's buffers are used again. Giving their pages back and getting
# them anew for each segment costs half as much as all the rest (mallopt(3)).
MALLOC_ARENA_MAX=${MALLOC_ARENA_MAX:-1}
MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-33554432}
MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-536870912}
export MALLOC_ARENA_MAX MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_
exec "$@" "$segment"
