# Connects to an abstract socket of the host and lists the ones it can see.
# attacks: abstract names belong to the network namespace, not to the file system
# expect-status: ok
# expect-stdout: HELD
# control: breach
import socket

for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    with socket.socket(socket.AF_UNIX, kind) as unix:
        try:
            unix.connect("\0" + HOST["CANARY_ABSTRACT"])
            breach(f"connected by type {int(kind)}")
        except OSError as error:
            # EPROTOTYPE would say that the name exists under another type.
            if error.errno == errno.EPROTOTYPE:
                breach("the name is visible")
            print("refused", int(kind), name(error.errno))
try:
    listed = open("/proc/net/unix").read()
    if "@" in listed:
        breach("names of the host in /proc/net/unix")
except OSError as error:
    print("refused the list", name(error.errno))
verdict()
