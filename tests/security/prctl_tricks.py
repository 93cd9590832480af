# Makes itself dumpable, a reaper, a tracee of anyone; changes its memory layout; opts out of being killed.
# attacks: prctl
# expect-status: ok
# expect-stdout: HELD
print("dumpable", syscall(157, 4, 1, 0, 0, 0))
print("no signal when the parent dies", syscall(157, 1, 0, 0, 0, 0))
print("tracer", syscall(157, 0x59616D61, -1, 0, 0, 0))
attempt_call("memory layout", 157, 35, 8, 0, 0, 0, allowed=REFUSED | {errno.EINVAL})
attempt_call("another program file", 157, 35, 13, 0, 0, 0, allowed=REFUSED | {errno.EINVAL, errno.EBADF})
attempt_call("securebits", 157, 28, 1, 0, 0, 0)
attempt_call("drop from the bounding set", 157, 24, 0, 0, 0, 0)
attempt_call("strict filter off", 157, 22, 0, 0, 0, 0, allowed=REFUSED | {errno.EINVAL})
attempt_call("core scheduling of PID 1", 157, 62, 2, 1, 0, 0, allowed=REFUSED | {errno.EINVAL, errno.ENODEV, errno.ESRCH})
# After all of it the daemon below must still die with the run.
syscall(157, 36, 1, 0, 0, 0)
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
    os._exit(0)
os.wait()
verdict()
