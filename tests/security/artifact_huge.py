# Leaves artifacts as large as the disk allows.
# attacks: the memory of the collector and of the server behind it
# expect-status: ok
# expect-stdout: HELD
# artifact-bytes-max: 67108864
# limits: {"disk_mb": 200, "memory_mb": 512}
# timeout: 20
# seconds-max: 12
written = 0
try:
    for number in range(3):
        with open(f"out/huge{number}", "wb", buffering=0) as out:
            for _ in range(60):
                written += out.write(b"x" * (1 << 20))
except OSError as error:
    print("refused at", written >> 20, name(error.errno))
verdict()
