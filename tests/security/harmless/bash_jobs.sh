# Background jobs, wait with exit codes, time limits, signals between processes.
# expect-status: ok
# expect-stdout: 3 124 143
(exit 3) &
wait $!
first=$?
timeout 0.2 sleep 5
second=$?
sleep 5 &
kill -TERM $!
wait $!
echo $first $second $?
