# Sets up a ring of requests, through which calls pass by the filter.
# attacks: io_uring_setup, io_uring_enter, io_uring_register
# expect-status: ok
# expect-stdout: HELD
# control: breach
attempt_call("setup", 425, 8, ctypes.create_string_buffer(120))
attempt_call("enter", 426, -1, 0, 0, 0, None, 0)
attempt_call("register", 427, -1, 0, None, 0)
verdict()
