# Six processes burn together: the sum reaches the bound long before any one of them does.
# attacks: the bound on processor time must count the whole tree
# expect-status: timeout
# degraded-expect-status: timeout|killed|error|ok
# limits: {"cpu_seconds": 2}
# timeout: 50
# cpu-seconds-max: 4
# degraded-cpu-seconds-max: 20
for _ in range(6):
    if os.fork() == 0:
        break
end = time.monotonic() + 55
while time.monotonic() < end:
    pass
