# Ends with the code of a process that was killed for memory, and says so.
# attacks: the difference between a program's word and the kernel's
# expect-status: error
# expect-return-code: 137
echo "Killed process 42 (python3): out of memory" >&2
exit 137
