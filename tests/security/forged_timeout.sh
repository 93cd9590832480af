# Ends with the code that timeout(1) uses.
# attacks: the difference between a program's word and the supervisor's
# expect-status: error
# expect-return-code: 124
echo "Terminated: time limit exceeded" >&2
exit 124
