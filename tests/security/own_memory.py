# Searches its own memory for what a parent may have left there before it became this program.
# attacks: fork without exec: the launcher's environment, arguments and requests of other runs
# expect-status: ok
# expect-stdout: HELD
# timeout: 20
# Reversed, so that the program does not find itself.
needle = HOST["SECRET_PREFIX_REVERSED"].encode()[::-1]
searched = 0
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
    for line in maps:
        bounds, rights = line.split()[:2]
        start, end = (int(part, 16) for part in bounds.split("-"))
        if not rights.startswith("rw") or end - start > 64 << 20:
            continue
        try:
            memory.seek(start)
            block = memory.read(end - start)
        except (OSError, OverflowError):
            continue
        searched += len(block)
        at = block.find(needle)
        while at >= 0:
            # The needle itself is in this memory; the secret goes on after it.
            tail = block[at + len(needle):at + len(needle) + 4]
            if tail.isalnum():
                breach(f"secret at {start + at:x} in {line.strip()}")
            at = block.find(needle, at + 1)
print("searched", searched >> 10, "KiB")
if searched < 100_000:
    breach("the search itself does not work")
verdict()
