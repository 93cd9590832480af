# Crashes with a core file wanted, which the kernel would write or hand to a program of the host.
# attacks: core dumps
# expect-status: ok
# expect-stdout: HELD
import glob
import resource

try:
    resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))
    breach("core files allowed")
except (ValueError, OSError) as error:
    print("refused", error)
for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGQUIT):
    child = os.fork()
    if child == 0:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WCOREDUMP(status):
        breach(f"status {status:x} after signal {number}")
if left := glob.glob("core*") + glob.glob("/tmp/core*"):
    breach(f"left {left}")
verdict()
