# Kills PID 1 and its parent in a loop, then itself.
# attacks: the report of the end: the supervisor must name the signal that was really used
# expect-status: killed
# expect-signal: 9
# seconds-max: 10
only_in_a_cell()
for target in {1, os.getppid()} - {0, os.getpid()}:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGSEGV):
        try:
            os.kill(target, number)
        except OSError as error:
            print("refused", target, name(error.errno))
os.kill(os.getpid(), signal.SIGKILL)
