# Reads one mebibyte of input, more than any pipe holds.
# attacks: a supervisor that writes the input before it reads the output
# stdin-bytes: 1048576
# expect-status: ok
# expect-stdout: HELD 1048576
# limits: {"output_kb": 2048}
# timeout: 15
total = 0
while part := os.read(0, 65536):
    total += len(part)
    # Answers as much as it was given, so that both directions are full at once.
    os.write(2, part)
print("HELD", total)
