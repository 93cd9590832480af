# Leaves the root by dot-dot, by descriptors opened early and by the links of /proc.
# attacks: the pivoted root: nothing of the old one may stay reachable
# expect-status: ok
# expect-stdout: HELD
here = os.stat("/")
up = os.open("/", os.O_RDONLY)
for _ in range(50):
    up = os.open("..", os.O_RDONLY, dir_fd=up)
    if (os.fstat(up).st_dev, os.fstat(up).st_ino) != (here.st_dev, here.st_ino):
        breach("dot-dot leaves the root")
        break
for link in ("/proc/1/root", "/proc/1/cwd", f"/proc/{os.getppid()}/root", f"/proc/{os.getppid()}/cwd"):
    try:
        there = os.stat(link + "/")
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            breach(f"{link} leads to {os.listdir(link)[:5]}")
        os.stat(link + HOST["CANARY_FILE"])
        breach(f"{link} reaches the canary")
    except OSError as error:
        print("refused", link, name(error.errno))
for line in open("/proc/self/mountinfo"):
    if any(place in line for place in ("old_root", HOST["DATA_DIR"], os.path.dirname(HOST["CANARY_FILE"]))):
        breach(f"mount table shows {line.strip():.100}")
verdict()
