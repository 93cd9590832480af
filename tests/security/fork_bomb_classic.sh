# The classic :(){ :|:& };: with a bound of its own: at most 2^7 pairs of shells.
# attacks: the bound on processes, and the kill of a tree that is still growing
# expect-status: timeout
# limits: {"pids": 48}
# timeout: 3
# seconds-max: 10
bomb() {
  if [ "$1" -gt 0 ]; then bomb $(($1 - 1)) | bomb $(($1 - 1)) & fi
  survivor 20
}
bomb 7
