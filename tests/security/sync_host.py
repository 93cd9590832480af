# Makes the host write all its disks, again and again, and waits in the kernel while it does.
# attacks: sync and syncfs: the cell has nothing on a disk, the host has
# expect-status: ok
# expect-stdout: HELD
# A call that only pretends to succeed is as good as a refusal: it does not look at the descriptor.
result = in_child(lambda: syscall(306, -1))
if result != 0 and -result not in REFUSED:
    breach(f"syncfs reaches the kernel: {name(result)}")
verdict()
