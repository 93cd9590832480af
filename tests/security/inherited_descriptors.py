# Lists what it was started with: exactly input, output and errors, each usable in one direction only.
# attacks: descriptors left open by the launcher
# expect-status: ok
# expect-stdout: HELD
import fcntl
import stat

listed = {int(d) for d in os.listdir("/proc/self/fd")}
usable = set()
for descriptor in range(1024):
    try:
        os.fstat(descriptor)
        usable.add(descriptor)
    except OSError:
        pass
# The list itself needs one descriptor while it is read.
if usable != {0, 1, 2}:
    breach(f"descriptors {sorted(usable)}: {[os.readlink(f'/proc/self/fd/{d}') for d in sorted(usable - {0, 1, 2})]}")
if len(listed) > 4:
    breach(f"listed {sorted(listed)}")
for descriptor, wanted in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
    mode = os.fstat(descriptor).st_mode
    # Input may be a sealed memory file.
    if not (stat.S_ISFIFO(mode) or (descriptor == 0 and stat.S_ISREG(mode)) or (stat.S_ISCHR(mode) and os.fstat(descriptor).st_rdev == os.makedev(1, 3))):
        breach(f"{descriptor} is of kind {stat.S_IFMT(mode):o}: {os.readlink(f'/proc/self/fd/{descriptor}')}")
    if not stat.S_ISCHR(mode) and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != wanted:
        breach(f"{descriptor} is open in both directions")
attempt("read from the output", lambda: len(os.read(1, 1)), REFUSED | {errno.EBADF})
verdict()
