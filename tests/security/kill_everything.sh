# kill -9 -1: every process it may signal.
# attacks: the init of the cell, the launcher, the neighbours; the run must still be reported
# expect-status: ok|killed
# seconds-max: 10
if [ "$(readlink /proc/self/ns/pid)" = "$PID_NS" ]; then breach "shares the process namespace of the host"; exit 0; fi
survivor 20 &
kill -9 1
kill -9 -1
kill -9 -1
kill -9 0
verdict
