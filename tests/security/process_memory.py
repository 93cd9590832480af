# Reads and writes the memory of another process, steals its descriptors, compares its kernel objects.
# attacks: process_vm_readv, process_vm_writev, process_madvise, process_mrelease, kcmp, pidfd_getfd
# expect-status: ok
# expect-stdout: HELD
# control: breach
child = os.fork()
if child == 0:
    signal.alarm(20)
    time.sleep(20)
    os._exit(0)
source = ctypes.create_string_buffer(b"secret", 8)
target = ctypes.create_string_buffer(8)
here = (ctypes.c_void_p * 2)(ctypes.addressof(target), 6)
there = (ctypes.c_void_p * 2)(ctypes.addressof(source), 6)
for process in (child, 1):
    attempt_call(f"process_vm_readv {process}", 310, process, here, 1, there, 1, 0)
    attempt_call(f"process_vm_writev {process}", 311, process, here, 1, there, 1, 0)
    attempt_call(f"kcmp {process}", 312, os.getpid(), process, 0, 1, 1)

    def steal():
        handle = syscall(434, process, 0)
        return handle if handle < 0 else syscall(438, handle, 0, 0)

    attempt(f"pidfd_getfd {process}", steal)
attempt_call("process_madvise", 440, -1, here, 1, 4, 0)
attempt_call("process_mrelease", 448, -1, 0)
os.kill(child, signal.SIGKILL)
verdict()
