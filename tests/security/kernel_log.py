# Reads and clears the kernel's log.
# attacks: syslog(2), /dev/kmsg
# expect-status: ok
# expect-stdout: HELD
buffer = ctypes.create_string_buffer(4096)
attempt_call("read all", 103, 3, buffer, 4096)
attempt_call("size", 103, 10, None, 0)
attempt_call("console off", 103, 6, None, 0)
attempt("/dev/kmsg", lambda: os.open("/dev/kmsg", os.O_RDWR), REFUSED | {errno.ENOENT})
verdict()
