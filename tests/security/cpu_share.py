# Four burners compete for more than the one processor that was granted.
# attacks: the share of processors
# expect-status: ok
# expect-stdout: HELD
# degraded: skip (without cgroups nothing bounds the share)
# limits: {"cpu_milli": 500, "cpu_seconds": 30}
start = time.monotonic()
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        while time.monotonic() < start + 3:
            pass
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
used = os.times().children_user + os.times().children_system
wall = time.monotonic() - start
print(f"{used:.2f} s of processor time in {wall:.2f} s")
# A period's quota and the first burst are allowed on top of the half processor.
if used > wall * 0.5 * 1.25 + 0.2:
    breach("more than half a processor")
verdict()
