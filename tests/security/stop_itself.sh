# Stops itself and its children: nothing runs and nothing ends.
# attacks: a supervisor that waits for an end or for output
# expect-status: timeout
# timeout: 1
# seconds-max: 10
(survivor 20) &
kill -STOP $!
kill -STOP $$
