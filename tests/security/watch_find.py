# Watches the shared system for what neighbours and the host read and run.
# attacks: inotify and dnotify, which see through mount namespaces to the shared file
# expect-status: ok
# expect-stdout: HELD
# pair: watch_leave.py
import fcntl
import select
import struct

inotify = syscall(294, 0o4000)
if inotify >= 0:
    for path in (b"/usr/bin/tac", b"/usr/bin", b"/usr/lib"):
        print(path, syscall(254, inotify, path, 0xFFF))
noticed = []
signal.signal(signal.SIGIO, lambda *_: noticed.append(1))
try:
    fcntl.fcntl(os.open("/usr/bin", os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS | fcntl.DN_MULTISHOT)
except OSError as error:
    print("refused dnotify", name(error.errno))
end = time.monotonic() + 2
while time.monotonic() < end:
    if inotify >= 0 and select.select([inotify], [], [], 0.1)[0]:
        event = os.read(inotify, 4096)
        breach(f"inotify saw {struct.unpack_from('iIII', event)} {event[16:40]}")
        break
    if noticed:
        breach("dnotify saw an access")
        break
    time.sleep(0.02)
verdict()
