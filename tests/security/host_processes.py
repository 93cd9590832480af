# Looks for processes that are not its own, by /proc, by signal 0 and by asking for their scheduling.
# attacks: the process namespace
# expect-status: ok
# expect-stdout: HELD
# control: breach
own = {os.getpid(), 1, os.getppid()}
if seen := {int(p) for p in os.listdir("/proc") if p.isdigit()} - own:
    breach(f"sees processes {sorted(seen)[:8]}")
for process in range(2, 40000):
    if process in own:
        continue
    try:
        os.kill(process, 0)
        breach(f"signal reaches {process}")
        break
    except ProcessLookupError:
        pass
    except PermissionError:
        breach(f"process {process} exists")
        break
target = int(HOST["CANARY_PID"])
for what, number, arguments in (("pidfd_open", 434, (target, 0)), ("sched_getaffinity", 204, (target, 8, b"\0" * 8)),
                                ("getpgid", 121, (target,)), ("getsid", 124, (target,)), ("kill", 62, (target, 0))):
    attempt_call(f"{what} of the canary", number, *arguments, allowed=REFUSED | {errno.ESRCH})
if os.getpid() > 1000:
    breach(f"own number is {os.getpid()}")
verdict()
