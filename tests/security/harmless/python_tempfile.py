# Temporary files and folders, locks, mmap, hard and symbolic links, times and modes.
# expect-status: ok
# expect-stdout: fine
import fcntl
import mmap
import os
import shutil
import tempfile

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "a")
    with open(path, "w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(8192)
        with mmap.mmap(file.fileno(), 8192) as area:
            area[:4] = b"mmap"
        os.fsync(file.fileno())
        os.posix_fallocate(file.fileno(), 0, 16384)
    os.link(path, path + "hard")
    os.symlink("a", path + "soft")
    os.chmod(path, 0o640)
    os.utime(path, (1, 1))
    os.mkfifo(path + "fifo")
    shutil.copytree(folder, folder + "copy", symlinks=True, ignore=shutil.ignore_patterns("*fifo"))
    shutil.rmtree(folder + "copy")
    assert open(path + "soft", "rb").read(4) == b"mmap" and os.stat(path).st_nlink == 2
with tempfile.NamedTemporaryFile(), tempfile.SpooledTemporaryFile():
    print("fine")
