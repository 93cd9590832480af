# Opens descriptors until refused.
# attacks: the bound on descriptors
# expect-status: ok
# expect-stdout: HELD
opened = []
try:
    while len(opened) < 20000:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print("refused after", len(opened), name(error.errno))
if len(opened) >= 10000:
    breach(f"{len(opened)} descriptors")
for descriptor in opened:
    os.close(descriptor)
try:
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    breach("raised its own bound")
except (ValueError, OSError) as error:
    print("refused to raise", error)
verdict()
