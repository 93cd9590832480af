# Pipes, sort, awk, sed, cut, tr, grep, xargs.
# expect-status: ok
# expect-stdout: 3 b 2 a
# expect-stdout: sum 55
printf 'b\na\nb\na\nb\n' | sort | uniq -c | sort -rn | awk '{printf "%s %s ", $1, $2}'
echo
echo sum "$(seq 10 | awk '{s += $1} END {print s}')"
seq 3 | xargs -n 1 echo | tr '\n' ' ' | sed 's/ $//' | cut -d ' ' -f 1-3 | grep -q '1 2 3' || exit 1
