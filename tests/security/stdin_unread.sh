# Never reads its input, and closes it under the writer.
# attacks: a supervisor that waits to write, or dies of SIGPIPE
# stdin-bytes: 1048576
# expect-status: ok
# expect-stdout: HELD
# seconds-max: 10
exec 0<&-
sleep 0.3
verdict
