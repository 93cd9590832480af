# Leaves hard links: of files of the system, of the interpreter's descriptor, and a thousand to one file of its own.
# attacks: the read-only root and the sum of artifact bytes
# expect-status: ok
# expect-stdout: HELD
# artifact-bytes-max: 67108864
# seconds-max: 10
refusals = REFUSED | {errno.EXDEV, errno.ENOENT, errno.ELOOP, errno.EROFS}
for source in ("/etc/passwd", "/usr/bin/env", "/dev/null", "/proc/self/environ", "/proc/self/exe", sys.executable):
    attempt(f"link {source}", lambda: os.link(source, "out/stolen") or 0, refusals)
    attempt(f"link followed {source}", lambda: syscall(265, -100, source.encode(), -100, b"out/stolen", 0x400), refusals)
attempt("link by descriptor", lambda: syscall(265, os.open("/usr/bin/env", os.O_RDONLY), b"", -100, b"out/stolen", 0x1000),
        refusals)
with open("one", "wb") as file:
    file.write(b"x" * (4 << 20))
for number in range(1000):
    os.link("one", f"out/{number}")
verdict()
