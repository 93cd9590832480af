# Looks for two seconds for what another run left or holds.
# attacks: what runs share: files, shared memory, message queues, abstract names, listeners, processes
# expect-status: ok
# expect-stdout: HELD
# pair: state_leave.py
import socket

MARK = "ump-state-8136"
MINE = {"canary.env"}


def look():
    for place in ("/tmp", "/dev/shm", "/box", ".", "out"):
        try:
            if strange := [e for e in os.listdir(place) if "ump" in e or e.startswith(".X11")]:
                breach(f"{place} holds {strange}")
        except OSError:
            pass
    for place in ("/tmp", "/dev/shm", "out"):
        if os.path.isdir(place) and os.listdir(place):
            breach(f"{place} is not empty: {os.listdir(place)[:5]}")
    for what, number, arguments in (("shared memory", 29, (0x8136, 0, 0)), ("semaphore", 64, (0x8136, 0, 0)),
                                    ("queue", 68, (0x8136, 0)), ("POSIX queue", 240, (b"ump-state", 0, 0, None))):
        if syscall(number, *arguments) >= 0:
            breach(f"{what} of another run")
    for file in ("shm", "sem", "msg"):
        try:
            if len(open(f"/proc/sysvipc/{file}").readlines()) > 1:
                breach(f"{file} listed")
        except OSError:
            pass
    for family, address in ((socket.AF_UNIX, "\0" + MARK), (socket.AF_UNIX, "/tmp/ump.sock"),
                            (socket.AF_INET, ("127.0.0.1", 18136))):
        with socket.socket(family) as stream:
            stream.settimeout(1)
            if stream.connect_ex(address) == 0:
                breach(f"connected to {address!r}")
    for file in ("tcp", "udp", "tcp6", "unix"):
        try:
            lines = open(f"/proc/net/{file}").readlines()[1:]
            if file in ("tcp", "udp") and any(":46D8" in line for line in lines):
                breach(f"{file} shows {lines[0].strip():.60}")
            if file == "unix" and any("ump" in line for line in lines):
                breach("abstract name listed")
        except OSError:
            pass
    if seen := {int(p) for p in os.listdir("/proc") if p.isdigit()} - {1, os.getpid(), os.getppid()}:
        breach(f"processes {sorted(seen)}")


end = time.monotonic() + 2
while time.monotonic() < end and not BREACHES:
    look()
    time.sleep(0.1)
verdict()
