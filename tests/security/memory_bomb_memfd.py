# Fills anonymous files made by memfd_create.
# attacks: the bound on memory through files without a place
# expect-status: ok|oom|killed
# degraded: skip (without cgroups memory is bounded per process)
# limits: {"memory_mb": 96}
held = 0
files = []
try:
    while held < 384 << 20:
        files.append(os.memfd_create("fill"))
        for _ in range(8):
            held += os.write(files[-1], b"x" * (1 << 20))
except OSError as error:
    print("refused at", held >> 20, "MiB", name(error.errno), flush=True)
if held > int(HOST["LIMIT_MEMORY"]):
    breach(f"{held >> 20} MiB of anonymous files")
verdict()
