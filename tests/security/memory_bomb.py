# Takes and touches memory, 16 MiB at a time, up to 2 GiB.
# attacks: the bound on memory
# expect-status: oom
# degraded-expect-status: oom|error|killed
# limits: {"memory_mb": 96}
# control: breach
blocks = []
while len(blocks) < 128:
    block = bytearray(16 << 20)
    block[::4096] = b"x" * len(block[::4096])
    blocks.append(block)
breach(f"{len(blocks) * 16} MiB held")
