# Writes 512 MiB to every place that can be written.
# attacks: the bound on the private file systems, all of them together
# expect-status: ok
# expect-stdout: HELD
# limits: {"disk_mb": 16, "memory_mb": 512}
total=0
for place in . out /tmp /dev/shm; do
  head -c 536870912 /dev/zero > "$place/fill" 2>/dev/null
  size=$(stat -c %s "$place/fill" 2>/dev/null || echo 0)
  echo "$place took $size"
  total=$((total + size))
done
if [ "$total" -gt "$LIMIT_DISK" ]; then breach "$total bytes held under a bound of $LIMIT_DISK"; fi
rm -f fill out/fill /tmp/fill /dev/shm/fill
verdict
