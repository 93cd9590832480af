# Changes how programs are loaded: no random addresses, everything readable executable, 32 bits.
# attacks: personality
# expect-status: ok
# expect-stdout: HELD
# control: breach
for what, flags in (("no random addresses", 0x40000), ("readable is executable", 0x400000), ("32 bits", 8),
                    ("map page zero", 0x100000), ("by the high bits", 1 << 32 | 0x40000)):
    attempt_call(what, 135, flags)
verdict()
