# Parks descriptors inside socket messages, where the bound of the process does not count them.
# attacks: the kernel's table of open files
# expect-status: ok
# expect-stdout: HELD
import socket

parked = 0
pairs = []
null = os.open("/dev/null", os.O_RDONLY)
try:
    while parked < 20000:
        left, right = socket.socketpair()
        pairs.append((left, right))
        left.setblocking(False)
        try:
            while parked < 20000:
                socket.send_fds(left, [b"x"], [null] * 200)
                parked += 200
        except BlockingIOError:
            pass
except OSError as error:
    print("refused after", parked, name(error.errno))
if parked >= 20000:
    breach(f"{parked} descriptors in flight")
verdict()
