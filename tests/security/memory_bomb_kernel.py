# Fills pipes and socket buffers: memory of the kernel, not of the process.
# attacks: the bound on memory through kernel buffers
# expect-status: ok|oom|killed
# degraded: skip (without cgroups kernel buffers are bounded only by descriptors)
# limits: {"memory_mb": 96}
import fcntl
import socket

held = 0
keep = []
try:
    while held < 512 << 20:
        reader, writer = os.pipe()
        keep += [reader, writer]
        os.set_blocking(writer, False)
        try:
            fcntl.fcntl(writer, 1031, 1 << 20)
        except OSError:
            pass
        try:
            while True:
                held += os.write(writer, b"x" * 65536)
        except BlockingIOError:
            pass
        left, right = socket.socketpair()
        keep += [left, right]
        left.setblocking(False)
        try:
            while True:
                held += left.send(b"x" * 65536)
        except BlockingIOError:
            pass
except OSError as error:
    print("refused at", held >> 20, "MiB", name(error.errno), flush=True)
if held > int(HOST["LIMIT_MEMORY"]):
    breach(f"{held >> 20} MiB of kernel buffers")
verdict()
