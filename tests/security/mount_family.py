# Mounts, unmounts, rebinds and changes mounts by the old and by the new calls.
# attacks: mount, umount2, pivot_root, open_tree, move_mount, fsopen, fsmount, fspick, mount_setattr
# expect-status: ok
# expect-stdout: HELD
# control: breach
only_in_a_cell()
os.mkdir("m")
for kind in (b"proc", b"tmpfs", b"sysfs", b"cgroup", b"cgroup2", b"devpts", b"mqueue", b"overlay", b"debugfs"):
    attempt_call(f"mount {kind.decode()}", 165, b"none", b"m", kind, 0, None)
    attempt_call(f"fsopen {kind.decode()}", 430, kind, 0)
attempt_call("bind", 165, b"/proc", b"m", None, 4096, None)
for place in (b"/", b"/usr", b"/proc", b"/box", b"/tmp"):
    attempt_call(f"remount {place.decode()} writable", 165, None, place, None, 32 | 4096, None)
    attempt_call(f"umount {place.decode()}", 166, place, 2)
    attempt_call(f"mount_setattr {place.decode()}", 442, -100, place, 0, (ctypes.c_uint64 * 4)(0, 1, 0, 0), 32)
    attempt_call(f"open_tree {place.decode()}", 428, -100, place, 1)
    attempt_call(f"fspick {place.decode()}", 433, -100, place, 0)
attempt_call("make shared", 165, None, b"/", None, 1 << 20 | 16384, None)
attempt_call("pivot_root", 155, b".", b".")
attempt_call("move_mount", 429, -1, b"", -100, b"m", 4)
attempt_call("fsmount", 432, -1, 0, 0)
attempt_call("fsconfig", 431, -1, 6, None, None, 0)
attempt_call("open_tree_attr", 467, -100, b"/", 1, None, 0)
verdict()
