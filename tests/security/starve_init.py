# Takes from PID 1 all it can: its bounds, its place on the processors, its niceness; then ends with code 7.
# attacks: the report of the end, where the init of the cell has the user of its run
# expect-status: error
# expect-return-code: 7
# seconds-max: 10
only_in_a_cell()
for kind in range(16):
    # Not the bound on processor time: that would end the run from within, which is its own right.
    if kind != 0:
        print("bound", kind, syscall(302, 1, kind, (ctypes.c_uint64 * 2)(0, 0), None))
print("idle", syscall(144, 1, 5, ctypes.byref(ctypes.c_int(0))))
print("nice", syscall(141, 0, 1, 19))
print("affinity", syscall(203, 1, 8, (ctypes.c_uint64 * 1)(1)))
print("input and output", syscall(251, 1, 1, 3 << 13))
print("group", syscall(109, 1, os.getpid()))
os._exit(7)
