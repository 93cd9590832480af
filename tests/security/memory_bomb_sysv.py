# Takes System V shared memory, 16 MiB a segment, and touches it.
# attacks: the bound on memory through IPC objects, which no process owns
# expect-status: ok|oom|killed
# degraded: skip (without cgroups memory is bounded per process)
# limits: {"memory_mb": 96}
LIBC.shmat.restype = ctypes.c_void_p
held = 0
for _ in range(24):
    segment = LIBC.shmget(0, 16 << 20, 0o1600)
    if segment < 0:
        print("refused at", held >> 20, "MiB", name(ctypes.get_errno()), flush=True)
        break
    address = LIBC.shmat(segment, None, 0)
    LIBC.shmctl(segment, 0, None)
    if address in (None, ctypes.c_void_p(-1).value):
        break
    ctypes.memset(address, 1, 16 << 20)
    held += 16 << 20
if held > int(HOST["LIMIT_MEMORY"]):
    breach(f"{held >> 20} MiB of shared memory")
verdict()
