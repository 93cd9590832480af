# Opens files by number instead of by name ("shocker"), which knows no root directory.
# attacks: name_to_handle_at, open_by_handle_at
# expect-status: ok
# expect-stdout: HELD
# control: breach
handle = (ctypes.c_uint32 * 34)(128)
mount = ctypes.c_int()
attempt_call("name_to_handle_at", 303, -100, b"/tmp", handle, ctypes.byref(mount), 0)
for inode in (1, 2, 128):
    attempt_call(f"open_by_handle_at {inode}", 304, os.open("/", os.O_RDONLY), (ctypes.c_uint32 * 4)(8, 1, inode, 0), 0)
verdict()
