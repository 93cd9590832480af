# Changes its own input: writes to it, cuts it, opens it again for writing, maps it for writing.
# attacks: the memory file or pipe between the server and the run
# stdin-bytes: 4096
# expect-status: ok
# expect-stdout: HELD
import fcntl
import mmap

refusals = REFUSED | {errno.EBADF, errno.EINVAL}
attempt("write", lambda: os.write(0, b"y"), refusals)
attempt("cut", lambda: os.ftruncate(0, 0) or 0, refusals)


def again():
    """A pipe may be opened again for writing, a file must not take what is written."""
    descriptor = os.open("/proc/self/fd/0", os.O_RDWR | os.O_NONBLOCK)
    if os.lseek(descriptor, 0, os.SEEK_SET) == 0:
        return os.write(descriptor, b"y")
    return -errno.EACCES


attempt("open again", again, refusals | {errno.ESPIPE})
attempt("map", lambda: len(mmap.mmap(0, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)),
        refusals | {errno.ENODEV})
attempt("remove the seals", lambda: fcntl.fcntl(0, 1033, 0) and 0, refusals)
if os.read(0, 8192) != b"x" * 4096:
    breach("the input was changed")
verdict()
