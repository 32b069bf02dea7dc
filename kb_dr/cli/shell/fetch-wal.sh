# The restore_command, inside the line that `kb-dr wal restore-command` prints: takes a segment that
# lies ready, else starts the program, whose word it passes on.
#
#   fetch-wal.sh AHEAD NAME PATH PROGRAM [WORD...]
#
# AHEAD is where a process that runs ahead of replay (kb_dr.cli.wal_ahead) lays whole, checked
# segments. They are taken only while that process lives and is of this very cluster: it holds the
# data directory, in which PostgreSQL runs this, open. What does not lie there it is asked for: it
# is the program, and may say of this very fetch, after it was asked, that the file is ready now,
# or absent. Of itself this script calls nothing absent.
ahead=$1
name=$2
path=$3
shift 3
alive() {
  read -r pid held boot < "$ahead/alive" && read -r now < /proc/sys/kernel/random/boot_id &&
    [ "$boot" = "$now" ] && [ . -ef "/proc/$pid/fd/$held" ]
}
looks=0
unheard=0
asked=
answer=$ahead/answers/$$.$name
coming=$ahead/ready/.$name.coming
while alive 2> /dev/null; do
  if [ -f "$ahead/ready/$name" ]; then
    if mv -f "$ahead/ready/$name" "$path"; then exit 0; fi
    break
  fi
  [ "$looks" -lt 1500 ] || break
  looks=$((looks + 1))
  if [ -f "$coming" ]; then
    # Being read: waiting costs less than reading it twice. Locked by who reads it until it is
    # ready, or that process is dead.
    flock -s -w 30 -E 75 3 3< "$coming" 2> /dev/null
    case $? in 0) [ -f "$coming" ] || continue ;; 75) break ;; esac
  elif [ -f "$ahead/ready/$name" ]; then
    continue
  elif [ -f "$ahead/starting" ]; then
    : # soon it is known what is being read
  elif [ -z "$asked" ]; then
    asked=$ahead/asks/$$.$name
    { [ ! -e "$answer" ] && true > "$asked"; } 2> /dev/null || break
  elif [ -f "$answer" ]; then
    read -r said < "$answer" && [ "$said" = "absent $name" ] && exit 12
    [ "$said" = "ready $name" ] && [ -f "$ahead/ready/$name" ] || break
    continue
  elif [ -f "$asked" ]; then
    # Not heard yet: it may be busy with a store that does not answer.
    unheard=$((unheard + 1))
    [ "$unheard" -lt 50 ] || break
  fi
  sleep 0.02 || break
done
exec "$@" "$name" "$path"
