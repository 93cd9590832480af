# Fills the buffers of TCP connections over its own loopback, which old control groups count apart.
# attacks: the bound on memory, and the memory that all TCP connections of the host share
# expect-status: ok|oom|killed
# degraded: skip (without cgroups kernel buffers are bounded only by descriptors)
# limits: {"memory_mb": 96}
# timeout: 30
import socket

listener = socket.create_server(("127.0.0.1", 0), backlog=64)
held = 0
keep = []
try:
    while held < 512 << 20:
        left = socket.socket()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            left.setsockopt(socket.SOL_SOCKET, option, 1 << 22)
        left.connect(listener.getsockname())
        right, _ = listener.accept()
        keep += [left, right]
        for stream in (left, right):
            stream.setblocking(False)
            try:
                while True:
                    held += stream.send(b"x" * 65536)
            except BlockingIOError:
                pass
except OSError as error:
    print("refused at", held >> 20, "MiB", name(error.errno), flush=True)
print(held >> 20, "MiB in", len(keep), "sockets")
if held > 2 * int(HOST["LIMIT_MEMORY"]):
    breach(f"{held >> 20} MiB of TCP buffers")
verdict()
