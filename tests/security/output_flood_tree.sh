# Four background writers flood both outputs while the shell waits.
# attacks: the bound on output must stop the whole tree
# expect-status: output_limit
# limits: {"output_kb": 64}
# seconds-max: 10
for n in 1 2; do
  (yes flood | head -c 67108864) &
  (yes flood | head -c 67108864 >&2) &
done
wait
