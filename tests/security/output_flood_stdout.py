# Writes 64 MiB to standard output.
# attacks: the memory of whoever reads the output
# expect-status: output_limit
# limits: {"output_kb": 64}
for _ in range(1024):
    os.write(1, b"flood flood flood flood flood flood flood flood flood flood flo\n" * 1024)
