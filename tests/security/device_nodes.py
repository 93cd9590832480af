# Makes device nodes of its own for memory, disks, terminals and the loop control.
# attacks: mknod, mknodat
# expect-status: ok
# expect-stdout: HELD
# control: breach
import stat

for what, kind, major, minor in (("null", stat.S_IFCHR, 1, 3), ("mem", stat.S_IFCHR, 1, 1), ("kmsg", stat.S_IFCHR, 1, 11),
                                 ("disk", stat.S_IFBLK, 254, 0), ("loop control", stat.S_IFCHR, 10, 237),
                                 ("tun", stat.S_IFCHR, 10, 200), ("whiteout", stat.S_IFCHR, 0, 0)):
    for place in (".", "/tmp", "/dev/shm", "/dev"):

        def make():
            os.mknod(f"{place}/{what}", kind | 0o666, os.makedev(major, minor))
            return os.open(f"{place}/{what}", os.O_RDONLY | os.O_NONBLOCK)

        attempt(f"{place}/{what}", make, REFUSED | {errno.EROFS})
verdict()
