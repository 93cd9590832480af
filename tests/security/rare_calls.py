# Asks for system calls that programs do not need and that have opened kernels before.
# attacks: the allow-list
# expect-status: ok
# expect-stdout: HELD
# control: breach
for what, number, arguments in (
        ("memfd_secret", 447, (0,)), ("vmsplice", 278, (-1, None, 0, 0)), ("remap_file_pages", 216, (0, 0, 0, 0, 0)),
        ("move_pages", 279, (0, 0, None, None, None, 0)), ("migrate_pages", 256, (0, 0, None, None)),
        ("mbind", 237, (0, 0, 0, None, 0, 0)), ("set_mempolicy", 238, (0, None, 0)),
        ("set_mempolicy_home_node", 450, (0, 0, 0, 0)), ("fanotify_mark", 301, (-1, 0, 0, 0, None)),
        ("statmount", 457, (None, None, 0, 0)), ("listmount", 458, (None, None, 0, 0)),
        ("lsm_get_self_attr", 459, (0, None, None, 0)), ("lsm_set_self_attr", 460, (0, None, 0, 0)),
        ("lsm_list_modules", 461, (None, None, 0)), ("map_shadow_stack", 453, (0, 0, 0)), ("quotactl_fd", 443, (-1, 0, 0, None)),
        ("pkey_mprotect of nothing", 329, (-1, 0, 0, 0))):
    attempt_call(what, number, *arguments)
# (335 and 336, uretprobe and uprobe, pass every filter by the kernel's own decision since Linux 6.11.)
# Numbers without a call must be answered like calls that are refused, and must not kill.
for number in (380, 423, 500, 512, 547, 600, 100000):
    attempt_call(f"number {number}", number, allowed={errno.ENOSYS, errno.EPERM})
verdict()
