# Looks through every directory it can enter: for the canary by name, for places to write, for sockets.
# attacks: the private root
# expect-status: ok
# expect-stdout: HELD
# timeout: 30
# limits: {"cpu_seconds": 30}
# control: breach
while read -r what path; do
  case "$path" in /dev/null | /dev/zero | /dev/full | /dev/random | /dev/urandom) ;; *) breach "$what $path" ;; esac
done < <(find / \( -path /proc -o -path /tmp -o -path /box -o -path /dev/shm \) -prune -o \
  \( -name "${CANARY_FILE##*/}" -printf 'canary %p\n' -o -type s -printf 'socket %p\n' -o \
  \( -type d -o -type f \) -writable -printf 'writable %p\n' \) 2> /dev/null | head -n 5)
verdict
