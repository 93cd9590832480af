# Changes the network it has: addresses, routes, bridges, tunnels, packet filters.
# attacks: capabilities over the (recycled) network namespace
# expect-status: ok
# expect-stdout: HELD
import fcntl
import socket
import struct

control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
lo = struct.pack("16sH22x", b"lo", 0)
address = struct.pack("16sHHI16x", b"lo", socket.AF_INET, 0, 0x0A000001)
for what, request, argument in (("take lo down", 0x8914, lo), ("address", 0x8916, address), ("route", 0x890B, b"\0" * 120),
                                ("bridge", 0x89A0, b"ump\0"), ("rename", 0x8923, struct.pack("16s16s", b"lo", b"ump")),
                                ("arp", 0x8955, b"\0" * 68), ("vlan", 0x8983, b"\0" * 64)):
    attempt(what, lambda: fcntl.ioctl(control, request, argument) and 0, REFUSED | {errno.ENOTTY, errno.ENOPKG})
attempt("tun", lambda: os.open("/dev/net/tun", os.O_RDWR), REFUSED | {errno.ENOENT})
attempt("iptables", lambda: control.setsockopt(0, 64, b"\0" * 84) or 0, REFUSED | {errno.ENOPROTOOPT})
attempt("transparent", lambda: control.setsockopt(0, 19, 1) or 0)
attempt("mark", lambda: control.setsockopt(1, 36, 1) or 0)
attempt("priority", lambda: control.setsockopt(1, 12, 7) or 0)
attempt("force buffers", lambda: control.setsockopt(1, 33, 1 << 30) or 0)
verdict()
