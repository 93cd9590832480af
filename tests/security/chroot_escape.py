# The classic: chroot into a directory below, keep a descriptor above, climb.
# attacks: chroot
# expect-status: ok
# expect-stdout: HELD
os.mkdir("cage")


def escape():
    above = os.open("/", os.O_RDONLY)
    result = syscall(161, b"cage")
    if result < 0:
        return result
    os.fchdir(above)
    for _ in range(50):
        os.chdir("..")
    return 0


attempt("chroot", escape)
attempt_call("chroot to where it is", 161, b"/")
verdict()
