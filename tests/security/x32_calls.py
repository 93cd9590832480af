# Makes system calls of the x32 table, whose numbers a careless filter does not know.
# attacks: the filter's check of the number's bit 30
# expect-status: ok
# expect-stdout: HELD
X32 = 0x40000000
for what, number in (("getpid", 39), ("ptrace of x32", 521), ("getuid", 102), ("open", 2), ("mount", 165), ("execve of x32", 520)):
    attempt_call(f"x32 {what}", X32 | number, 0, 0, 0, 0)
attempt_call("negative number", -1)
# A number with bits above 32 is cut to 32 bits by the kernel: it is getppid and must not become something else.
result = in_child(lambda: syscall(1 << 32 | 165, b"none", b"/tmp", b"tmpfs", 0, None))
if result not in {-e for e in REFUSED} and result != f"signal {int(signal.SIGSYS)}":
    breach(f"mount by the high bits: {result}")
verdict()
