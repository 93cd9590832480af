# Loads a map and a program into the kernel.
# attacks: bpf
# expect-status: ok
# expect-stdout: HELD
# control: breach
attempt_call("map", 321, 0, (ctypes.c_uint32 * 32)(2, 4, 4, 1), 128)
attempt_call("program", 321, 5, (ctypes.c_uint32 * 32)(1, 0), 128)
attempt_call("object by number", 321, 12, (ctypes.c_uint32 * 32)(1), 128)
attempt_call("a command that does not exist", 321, 9999, (ctypes.c_uint32 * 32)(), 128)
verdict()
