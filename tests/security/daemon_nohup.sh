# setsid, nohup and disown: what a shell offers to outlive it.
# attacks: the end of the run must be the end of all its processes
# expect-status: ok
# expect-stdout: HELD
# seconds-max: 10
(survivor 60) > /dev/null 2>&1 &
disown
setsid bash -c "exec -a $SURVIVOR sleep 60" > /dev/null 2>&1 &
nohup bash -c "exec -a $SURVIVOR sleep 60" > /dev/null 2>&1 &
verdict
