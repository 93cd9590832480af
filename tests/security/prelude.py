# Put in front of every Python attack by the harness. `canary.env` names what the attack looks for on the host.
import ctypes
import errno
import os
import signal
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
HOST = dict(line.rstrip("\n").split("=", 1) for line in open("canary.env"))
# What a filter or a missing privilege answers; any other errno means that the kernel looked at the request.
REFUSED = frozenset({errno.EPERM, errno.ENOSYS, errno.EACCES})
BREACHES = 0
# Every process of an attack carries this name, so that the harness can find survivors on the host.
LIBC.prctl(15, HOST["SURVIVOR"].encode(), 0, 0, 0)


def name(number):
    return errno.errorcode.get(abs(number), str(number))


def breach(what):
    global BREACHES
    BREACHES += 1
    print("BREACH", what, flush=True)


def verdict():
    if BREACHES == 0:
        print("HELD", flush=True)


def syscall(number, *arguments):
    """The raw call: its result, or the negative errno."""
    ctypes.set_errno(0)
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = LIBC.syscall(ctypes.c_long(number), *wide)
    return -ctypes.get_errno() if result == -1 else result


def in_child(action):
    """Runs `action` in a child of at most 5 s: its integer, or "signal N" when a signal ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        try:
            result = int(action() or 0)
        except OSError as error:
            result = -error.errno
        os.write(writer, str(result).encode())
        os._exit(0)
    os.close(writer)
    said = b""
    while part := os.read(reader, 64):
        said += part
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return int(said)


def attempt(what, action, allowed=REFUSED):
    """The action must be refused: with one of the `allowed` errors or by the filter's SIGSYS."""
    result = in_child(action)
    if result == f"signal {int(signal.SIGSYS)}":
        print("stopped", what, "SIGSYS", flush=True)
    elif isinstance(result, int) and result < 0 and -result in allowed:
        print("refused", what, name(result), flush=True)
    else:
        shown = result if isinstance(result, str) or result >= 0 else name(result)
        breach(f"{what}: {shown}")


def attempt_call(what, number, *arguments, allowed=REFUSED):
    attempt(what, lambda: syscall(number, *arguments), allowed)


def only_in_a_cell():
    """Stops here, as a breach, where going on could hurt the host."""
    if os.readlink("/proc/self/ns/pid") == HOST["PID_NS"]:
        breach("shares the process namespace of the host")
        sys.exit(0)


