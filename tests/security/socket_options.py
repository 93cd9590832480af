# Switches on parts of the network code that programs do not need and that have opened kernels before.
# attacks: kernel TLS, packet filters on sockets (the JIT compiler), urgent bytes on Unix sockets, tunnels over UDP
# expect-status: ok
# expect-stdout: HELD
# control: breach
import socket
import struct

listener = socket.create_server(("127.0.0.1", 0))
stream = socket.create_connection(listener.getsockname())
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
left, right = socket.socketpair()
absent = REFUSED | {errno.ENOENT, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
attempt("kernel TLS", lambda: stream.setsockopt(6, 31, b"tls") or 0, absent)
# One instruction: return 0.
code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(code))
for what, option in (("packet filter", 26), ("reuseport filter", 51)):
    attempt(what, lambda: datagram.setsockopt(1, option, program) or 0, absent)
for what, option in (("eBPF filter", 50), ("eBPF reuseport", 52)):
    attempt(what, lambda: datagram.setsockopt(1, option, struct.pack("i", -1)) or 0, absent)
attempt("tunnel over UDP", lambda: datagram.setsockopt(17, 100, 2) or 0, absent)
attempt("urgent byte on a Unix socket", lambda: left.send(b"x", socket.MSG_OOB), absent)
verdict()
