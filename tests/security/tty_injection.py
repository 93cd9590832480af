# Pushes characters into a terminal's input, also with bits above the 32 that the kernel looks at.
# attacks: ioctl TIOCSTI and TIOCLINUX (CVE-2016-10124, CVE-2019-10063)
# expect-status: ok
# expect-stdout: HELD
# control: breach
character = ctypes.create_string_buffer(b"x")
for what, request in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C), ("TIOCSTI by the high bits", 1 << 32 | 0x5412),
                      ("TIOCLINUX by the high bits", 0xDEAD << 32 | 0x541C)):
    for descriptor in (0, 1, 2):
        attempt_call(f"{what} on {descriptor}", 16, descriptor, request, character)
for path in ("/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts/0", "/dev/tty1"):
    attempt(path, lambda: os.open(path, os.O_RDWR | os.O_NOCTTY), REFUSED | {errno.ENOENT, errno.ENXIO})
verdict()
