# Handles its own page faults, which lets an attacker stop the kernel in the middle of a copy.
# attacks: userfaultfd
# expect-status: ok
# expect-stdout: HELD
# control: breach
attempt_call("user mode only", 323, 1)
attempt_call("full", 323, 0)
attempt("device", lambda: os.open("/dev/userfaultfd", os.O_RDWR), REFUSED | {errno.ENOENT})
verdict()
