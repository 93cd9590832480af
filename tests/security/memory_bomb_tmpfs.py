# Fills the private file systems where their size allows more than the memory bound does.
# attacks: files in memory must count as memory
# expect-status: oom|ok|error
# degraded: skip (without cgroups only the size of the file systems bounds them)
# limits: {"memory_mb": 64, "disk_mb": 256}
written = 0
for place in ("/tmp", "/dev/shm", "."):
    try:
        with open(f"{place}/fill", "wb", buffering=0) as file:
            while written < 512 << 20:
                written += file.write(b"x" * (1 << 20))
    except OSError as error:
        print("refused at", written >> 20, "MiB in", place, name(error.errno), flush=True)
if written > int(HOST["LIMIT_MEMORY"]):
    breach(f"{written >> 20} MiB of files under a bound of {int(HOST['LIMIT_MEMORY']) >> 20} MiB")
verdict()
