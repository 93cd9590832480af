# Asks for huge pages, which the host reserves for its own programs and no memory bound counts.
# attacks: mmap with MAP_HUGETLB, memfd_create with MFD_HUGETLB
# expect-status: ok
# expect-stdout: HELD
# control: breach
attempt_call("map", 9, 0, 2 << 20, 3, 0x40022, -1, 0)
attempt_call("map of 1 GiB", 9, 0, 1 << 30, 3, 0x40022 | 30 << 26, -1, 0)
attempt_call("memory file", 319, b"huge", 4)
attempt_call("shared segment", 29, 0, 2 << 20, 0o4600)
verdict()
