# Takes control of another process.
# attacks: ptrace, by every way in
# expect-status: ok
# expect-stdout: HELD
# control: breach
child = os.fork()
if child == 0:
    signal.alarm(20)
    time.sleep(20)
    os._exit(0)
attempt_call("PTRACE_TRACEME", 101, 0, 0, 0, 0)
for process in (child, 1, os.getppid()):
    if process != child:
        only_in_a_cell()
    attempt_call(f"PTRACE_ATTACH {process}", 101, 16, process, 0, 0)
    attempt_call(f"PTRACE_SEIZE {process}", 101, 0x4206, process, 0, 0)
    attempt_call(f"PTRACE_PEEKDATA {process}", 101, 2, process, 0, 0)
os.kill(child, signal.SIGKILL)
verdict()
