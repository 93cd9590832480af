# Fills the buffers of UDP sockets over its own loopback.
# attacks: the bound on memory, and the memory that all UDP sockets of the host share
# expect-status: ok|oom|killed
# degraded: skip (without cgroups kernel buffers are bounded only by descriptors)
# limits: {"memory_mb": 96}
# timeout: 30
import socket

sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
held = 0
keep = []
try:
    while held < 512 << 20 and len(keep) < 900:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        receiver.bind(("127.0.0.1", 0))
        keep.append(receiver)
        room = receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        for _ in range(room // 65536):
            # What does not fit is dropped; count only what surely did.
            held += sender.sendto(b"x" * 32768, receiver.getsockname())
except OSError as error:
    print("refused at", held >> 20, "MiB", name(error.errno), flush=True)
# Counted by what can be read back, since UDP drops silently.
held = 0
for receiver in keep:
    receiver.setblocking(False)
    try:
        while True:
            held += len(receiver.recv(65536))
    except BlockingIOError:
        pass
print(held >> 20, "MiB in", len(keep), "sockets")
if held > 2 * int(HOST["LIMIT_MEMORY"]):
    breach(f"{held >> 20} MiB of UDP buffers")
verdict()
