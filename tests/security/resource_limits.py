# Raises its own bounds and changes those of PID 1.
# attacks: setrlimit, prlimit
# expect-status: ok
# expect-stdout: HELD
import resource

kinds = {n: getattr(resource, n) for n in dir(resource) if n.startswith("RLIMIT_")}
for what, kind in kinds.items():
    soft, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY:
        continue
    try:
        resource.setrlimit(kind, (hard + 1, hard + 1))
        breach(f"raised {what} above {hard}")
    except (ValueError, OSError):
        pass
# Without rights over users the init has the user of its run: starve_init.py shows what that gives.
for process in {1, os.getppid()} - {0, os.getpid()} if HOST["DEGRADED"] == "0" else ():
    attempt_call(f"prlimit {process}", 302, process, 7, (ctypes.c_uint64 * 2)(0, 0), None, allowed=REFUSED | {errno.ESRCH})
verdict()
