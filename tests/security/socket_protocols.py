# Asks for protocols beside TCP and UDP over ordinary stream and datagram sockets.
# attacks: the kernel's rarely used protocols: SCTP, MPTCP, SMC, L2TP, UDP-Lite, DCCP
# expect-status: ok
# expect-stdout: HELD
# control: breach
for family in (2, 10):
    for kind in (1, 2, 5, 6):
        for protocol in (33, 115, 132, 136, 256, 262):
            descriptor = syscall(41, family, kind, protocol)
            if descriptor >= 0:
                os.close(descriptor)
                breach(f"family {family} type {kind} protocol {protocol}")
verdict()
