# Makes namespaces of its own, where it would be root.
# attacks: unshare, clone and clone3 with every namespace flag
# expect-status: ok
# expect-stdout: HELD
# control: breach
only_in_a_cell()
SPACES = {"user": 0x10000000, "mnt": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000,
          "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}


def cloned(result):
    """Ends the new process at once, so that only the caller reports."""
    if result == 0:
        os._exit(0)
    return result


for space, flag in SPACES.items():
    for extra in (0, SPACES["user"]):
        attempt_call(f"unshare {space}", 272, flag | extra)
        if flag | extra != 0x80:
            # The time flag cannot be given to clone: it lies in the bits of the exit signal.
            attempt(f"clone {space}", lambda: cloned(syscall(56, (flag | extra) & ~0x80 | 17, 0, 0, 0, 0)),
                    REFUSED | ({errno.EINVAL} if flag == 0x80 else set()))
        request = (ctypes.c_uint64 * 11)(flag | extra, 0, 0, 0, 17)
        attempt(f"clone3 {space}", lambda: cloned(syscall(435, request, 88)))
        # Past a check of 32 bits only.
        attempt(f"unshare {space} by its high bits", lambda: syscall(272, flag | extra | 1 << 32), REFUSED | {errno.EINVAL})
verdict()
