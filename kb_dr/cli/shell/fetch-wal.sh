# The restore_command, inside the line that `kb-dr wal restore-command` prints: takes a segment that
# lies ready, else starts the program, whose word it passes on.
#
#   fetch-wal.sh AHEAD NAME PATH PROGRAM [WORD...]
#
# AHEAD is where a process that runs ahead of replay (kb_dr.cli.wal_ahead) lays whole, checked
# segments. They are taken only while that process lives and is of this very cluster: it holds the
# data directory, in which PostgreSQL runs this, open. Nothing is ever called absent here.
ahead=$1
name=$2
path=$3
shift 3
alive() {
  read -r pid held boot < "$ahead/alive" && read -r now < /proc/sys/kernel/random/boot_id &&
    [ "$boot" = "$now" ] && [ . -ef "/proc/$pid/fd/$held" ]
}
looks=0
while alive 2> /dev/null; do
  if [ -f "$ahead/ready/$name" ]; then
    if mv -f "$ahead/ready/$name" "$path"; then exit 0; fi
    break
  fi
  # Being read just now, or about to be: waiting costs less than reading it twice.
  coming=$ahead/ready/.$name.coming
  [ -f "$coming" ] || [ -f "$ahead/starting" ] || [ -f "$ahead/ready/$name" ] || break
  [ "$looks" -lt 1500 ] || break
  looks=$((looks + 1))
  # Locked by who reads it until it is ready, or that process is dead.
  if [ -f "$coming" ]; then
    flock -s -w 10 -E 75 3 3< "$coming" 2> /dev/null
    case $? in 0) [ ! -f "$coming" ] && continue ;; 75) break ;; esac
  fi
  sleep 0.02 || break
done
exec "$@" "$name" "$path"
