# Process substitution, which needs /dev/fd, and named pipes.
# expect-status: ok
# expect-stdout: 2 common
# expect-stdout: through a pipe
comm -12 <(printf 'a\nb\nc\n') <(printf 'b\nc\nd\n') | wc -l | awk '{print $1, "common"}'
tee >(cat > /dev/null) < <(echo quiet) > /dev/null
mkfifo pipe
echo through a pipe > pipe &
cat pipe
wait
