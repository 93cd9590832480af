# Raises capabilities and changes identities.
# attacks: capset, ambient capabilities, setuid, setgroups, securebits
# expect-status: ok
# expect-stdout: HELD
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
attempt_call("capset all", 126, header, (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6))
for capability in (0, 1, 7, 12, 16, 19, 21, 25):
    attempt_call(f"ambient {capability}", 157, 47, 2, capability, 0, 0)
attempt("setuid 0", lambda: os.setuid(0), REFUSED | {errno.EINVAL})
attempt("setgid 0", lambda: os.setgid(0), REFUSED | {errno.EINVAL})
attempt("setresuid 0", lambda: os.setresuid(0, 0, 0), REFUSED | {errno.EINVAL})
attempt("setgroups", lambda: os.setgroups([0]), REFUSED | {errno.EINVAL})
attempt("setgroups of none", lambda: os.setgroups([]))
# setfsuid never fails: it tells the old identity.
LIBC.setfsuid(0)
if LIBC.setfsuid(-1) == 0:
    breach("file access as root")
attempt_call("securebits", 157, 28, 0x2F, 0, 0, 0, allowed=REFUSED | {errno.EINVAL})
if syscall(157, 38, 0, 0, 0, 0) == 0 or syscall(157, 39, 0, 0, 0, 0) != 1:
    breach("no_new_privs can be taken back")
verdict()
