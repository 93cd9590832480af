# Leaves ten thousand artifacts.
# attacks: the count of artifacts
# expect-status: ok
# expect-stdout: HELD
# artifacts-max: 1000
# limits: {"disk_mb": 64, "memory_mb": 256}
# timeout: 20
# seconds-max: 12
made = 0
try:
    for made in range(10000):
        with open(f"out/{made}", "w") as out:
            out.write("x")
except OSError as error:
    print("refused after", made, name(error.errno))
verdict()
