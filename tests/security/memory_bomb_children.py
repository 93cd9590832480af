# Eight children hold 48 MiB each, every one far below the bound, all together three times above it.
# attacks: the bound on memory must count the whole tree
# expect-status: ok|oom|killed
# degraded: skip (without cgroups memory is bounded per process)
# limits: {"memory_mb": 128}
# control: breach
children = []
for _ in range(8):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        block = bytearray(48 << 20)
        block[::4096] = b"x" * len(block[::4096])
        os.write(writer, b"!")
        time.sleep(20)
        os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    children.append(child)
# A child that was killed closes its pipe some time before it can be waited for, and counts as alive until then.
until = time.monotonic() + 3
while True:
    children = [child for child in children if os.waitpid(child, os.WNOHANG) == (0, 0)]
    alive = len(children)
    if alive * (48 << 20) <= int(HOST["LIMIT_MEMORY"]) or time.monotonic() > until:
        break
    time.sleep(0.01)
print(alive, "children hold", alive * 48, "MiB")
if alive * (48 << 20) > int(HOST["LIMIT_MEMORY"]):
    breach("the bound counts each process alone")
for child in children:
    try:
        os.kill(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
verdict()
