# Reads and writes PID 1 and the parent through /proc: memory, maps, descriptors, links.
# attacks: the init of the cell, which holds the control channel
# expect-status: ok
# expect-stdout: HELD
hidden = REFUSED | {errno.ENOENT, errno.ESRCH}
for process in sorted({1, os.getppid()} - {0}):
    for entry in ("mem", "maps", "environ", "auxv", "stack", "syscall", "pagemap", "io", "smaps", "personality"):
        path = f"/proc/{process}/{entry}"
        attempt(path, lambda: len(os.read(os.open(path, os.O_RDONLY), 16)), hidden | {errno.EIO})
    for entry in ("mem", "oom_score_adj", "coredump_filter", "clear_refs", "comm", "uid_map", "loginuid"):
        path = f"/proc/{process}/{entry}"
        attempt(f"write {path}", lambda: os.open(path, os.O_WRONLY), hidden | {errno.EROFS})
    for entry in ("exe", "root", "cwd", "ns/pid", "ns/user", "ns/mnt"):
        attempt(f"{process}/{entry}", lambda: len(os.readlink(f"/proc/{process}/{entry}")), hidden)
    attempt(f"descriptors of {process}", lambda: len(os.listdir(f"/proc/{process}/fd")), hidden)
verdict()
