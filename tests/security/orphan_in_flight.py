# Sends its outputs around in messages of sockets that only these messages hold, then ends.
# attacks: a supervisor that waits for the last writer: no process holds the pipes, a cycle in the kernel does
# expect-status: ok
# expect-stdout: HELD
# seconds-max: 10
import socket

verdict()
sys.stdout.flush()
for _ in range(20):
    left, right = socket.socketpair()
    socket.send_fds(left, [b"x"], [right.fileno(), left.fileno(), 1, 2, 0])
    socket.send_fds(right, [b"x"], [right.fileno(), left.fileno(), 1, 2, 0])
    left.detach(), right.detach()
os._exit(0)
