# Changes segment tables and asks for input and output ports.
# attacks: modify_ldt, iopl, ioperm
# expect-status: ok
# expect-stdout: HELD
# control: breach
buffer = ctypes.create_string_buffer(64)
attempt_call("read the table", 154, 0, buffer, 64)
attempt_call("write the table", 154, 1, (ctypes.c_uint32 * 4)(0, 0, 0xFFFFF, 0x51), 16)
attempt_call("iopl 0", 172, 0)
attempt_call("iopl 3", 172, 3)
attempt_call("ioperm", 173, 0x80, 1, 1)
verdict()
