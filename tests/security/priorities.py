# Puts itself before everybody else.
# attacks: niceness, real-time and deadline scheduling, priority of input and output
# expect-status: ok
# expect-stdout: HELD
attempt("nice -20", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20) or 0)
attempt("nice of the user", lambda: os.setpriority(os.PRIO_USER, 0, -20) or 0)
for what, policy in (("FIFO", 1), ("round robin", 2)):
    attempt_call(what, 144, 0, policy, ctypes.byref(ctypes.c_int(50)))
deadline = ctypes.create_string_buffer(48)
ctypes.memmove(deadline, (48).to_bytes(4, "little") + (6).to_bytes(4, "little") + bytes(16)
               + (10_000_000).to_bytes(8, "little") + (20_000_000).to_bytes(8, "little") * 2, 48)
attempt_call("deadline", 314, 0, deadline, 0)
attempt_call("real-time input and output", 251, 1, 0, 1 << 13)
# Without rights over users the init has the user of its run: starve_init.py shows what that gives.
if HOST["DEGRADED"] == "0":
    attempt_call("scheduling of PID 1", 144, 1, 3, ctypes.byref(ctypes.c_int(0)), allowed=REFUSED | {errno.ESRCH})
verdict()
