# Sends every signal to PID 1, to its parent, to the canary of the host and to whole groups.
# attacks: the init of the cell and the processes of the host
# expect-status: ok
# expect-stdout: HELD
only_in_a_cell()
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, signal.SIG_IGN)
for number in range(1, 65):
    for target in (1, os.getppid()):
        if target != os.getpid():
            syscall(62, target, number)
            syscall(129, target, number, (ctypes.c_int * 32)(number, 0, -1))
    for target in {int(HOST["CANARY_PID"]), int(HOST["HARNESS_PID"])} - {1, os.getpid()}:
        if syscall(62, target, number) == 0:
            breach(f"signal {number} reaches {target} of the host")


def by_handle():
    handle = syscall(434, 1, 0)
    return handle if handle < 0 else syscall(424, handle, 9, None, 0)


print("SIGKILL to PID 1 by its handle:", in_child(by_handle))
for _ in range(3000):
    syscall(129, 1, 40, (ctypes.c_int * 32)(40, 0, -1))
if os.getppid() == 0 and os.getpid() != 1:
    print("the parent is outside")
verdict()
