# Asks for a socket of every family and type.
# attacks: the kernel's rarely used network code: netlink, vsock, alg, packet, raw, xdp, can, tipc, …
# expect-status: ok
# expect-stdout: HELD
# control: breach
ordinary = {(family, kind) for family in (1, 2, 10) for kind in (1, 2, 5)}
for family in range(64):
    for kind in (1, 2, 3, 4, 5, 6, 10):
        for protocol in (0, 15, 255):
            for flags in (0, 0o2000000):
                descriptor = syscall(41, family, kind | flags, protocol)
                if descriptor >= 0:
                    os.close(descriptor)
                    if (family, kind) not in ordinary:
                        breach(f"family {family} type {kind} protocol {protocol}")
    pair = (ctypes.c_int * 2)()
    if syscall(53, family, 1, 0, pair) >= 0 and family != 1:
        breach(f"pair of family {family}")
# The upper half of the register must not carry a family past the check.
for family in (16, 17, 38, 40):
    if syscall(41, family | 1 << 32, 3, 0) >= 0 or syscall(41, family, 3 | 1 << 32, 0) >= 0:
        breach(f"family {family} by its high bits")
verdict()
