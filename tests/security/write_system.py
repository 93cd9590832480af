# Writes to the system it runs on: programs, libraries, accounts, the root directory itself.
# attacks: the read-only root
# expect-status: ok
# expect-stdout: HELD
refusals = REFUSED | {errno.EROFS, errno.ENOENT}
for path in ("/x", "/usr/x", "/usr/bin/x", "/bin/x", "/lib/x", "/etc/x", "/dev/x", "/proc/x", "/opt/x", "/var/x", "/home/x"):
    attempt(f"create {path}", lambda: os.open(path, os.O_CREAT | os.O_WRONLY, 0o755), refusals)
    attempt(f"mkdir {path}", lambda: os.mkdir(path), refusals)
for path in ("/usr/bin/env", "/bin/sh", "/etc/passwd", "/etc/group", "/etc/ld.so.cache", "/dev/null", "/dev", "/tmp/..", "/usr"):
    attempt(f"chmod {path}", lambda: os.chmod(path, 0o777), refusals)
    attempt(f"chown {path}", lambda: os.chown(path, os.getuid(), os.getgid()), refusals)
    attempt(f"touch {path}", lambda: os.utime(path, (0, 0)), refusals)
    attempt(f"attribute of {path}", lambda: os.setxattr(path, "user.ump", b"x"), refusals | {errno.EOPNOTSUPP})
    attempt(f"rename {path}", lambda: os.rename(path, path + "x"), refusals | {errno.EBUSY})
    attempt(f"link {path}", lambda: os.link(path, "linked"), refusals | {errno.EXDEV, errno.ELOOP})
for path in ("/usr/bin/env", "/bin/sh", "/etc/passwd", "/etc/ld.so.cache"):
    attempt(f"open {path}", lambda: os.open(path, os.O_WRONLY), refusals)
    attempt(f"truncate {path}", lambda: os.truncate(path, 0), refusals)
    attempt(f"unlink {path}", lambda: os.unlink(path), refusals)
verdict()
