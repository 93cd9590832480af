# Joins the namespaces of others by their files and by a handle of the process.
# attacks: setns
# expect-status: ok
# expect-stdout: HELD
# control: breach
only_in_a_cell()
gone = REFUSED | {errno.ENOENT, errno.ESRCH}
for process in ("self", "1", str(os.getppid()), HOST["CANARY_PID"]):
    for space in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"):
        attempt(f"setns {process} {space}",
                lambda: syscall(308, os.open(f"/proc/{process}/ns/{space}", os.O_RDONLY), 0), gone)


def by_handle():
    handle = syscall(434, 1, 0)
    return handle if handle < 0 else syscall(308, handle, 0x7E020080)


attempt("setns of PID 1 by its handle", by_handle)
# NS_GET_PARENT and NS_GET_USERNS climb from a namespace to the one above.
for request in (0xB701, 0xB702):
    attempt(f"climb by {request:x}", lambda: syscall(16, os.open("/proc/self/ns/user", os.O_RDONLY), request, 0), gone)
verdict()
