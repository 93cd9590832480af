# Sets the clocks and the name of the host, wakes the machine by alarm.
# attacks: settimeofday, clock_settime, adjtimex, clock_adjtime
# expect-status: ok
# expect-stdout: HELD
only_in_a_cell()
now = (ctypes.c_int64 * 2)(int(time.time()), 0)
attempt_call("settimeofday", 164, now, None)
attempt_call("clock_settime", 227, 0, now)
attempt_call("adjtimex", 159, (ctypes.c_uint32 * 64)(0x4000))
attempt_call("clock_adjtime", 305, 0, (ctypes.c_uint32 * 64)(0x4000))
attempt("timer that wakes the machine",
        lambda: syscall(283, 9, 0), REFUSED | {errno.EOPNOTSUPP, errno.EINVAL})
attempt("real time clock", lambda: os.open("/dev/rtc0", os.O_RDONLY), REFUSED | {errno.ENOENT})
verdict()
