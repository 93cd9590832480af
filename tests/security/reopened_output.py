# Opens its outputs again through /proc to read what others wrote, to cut it, or to block the reader.
# attacks: the pipes between the run and the launcher
# expect-status: ok
# expect-stdout: HELD
# expect-stdout: whole
# seconds-max: 10
os.write(1, b"whole\n")
for descriptor in (0, 1, 2):
    try:
        # A second end of the same pipe: it may exist, but must not harm the reader.
        again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_NONBLOCK)
        os.truncate(again, 0)
        breach(f"{descriptor} can be cut")
    except OSError as error:
        print("refused", descriptor, name(error.errno))
try:
    import fcntl
    fcntl.fcntl(1, 1031, 1 << 20)
except OSError as error:
    print("refused to grow", name(error.errno))
os.set_blocking(1, True)
verdict()
