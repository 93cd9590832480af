# Reads what the kernel says about its own confinement.
# attacks: nothing yet: a cell whose locks are open fails here with the exact lock
# expect-status: ok
# expect-stdout: HELD
# control: breach
import resource

state = dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
for key, wanted in (("Seccomp", "2"), ("NoNewPrivs", "1"), ("Groups", "")):
    if state[key].strip() != wanted:
        breach(f"{key} is {state[key]!r}")
for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    if int(state[key], 16) != 0:
        breach(f"{key} is {state[key]}")
if 0 in {os.getuid(), os.geteuid(), os.getgid(), os.getegid()}:
    breach("runs as a root of its own")
for file in ("uid_map", "gid_map"):
    for line in open(f"/proc/self/{file}"):
        inside, outside, count = map(int, line.split())
        if outside <= 0 < outside + count or (outside == 0 and count):
            breach(f"{file} reaches the host's root: {line.strip()}")
for space in ("pid", "mnt", "net", "ipc", "uts", "user", "cgroup"):
    if os.readlink(f"/proc/self/ns/{space}") == HOST[f"{space.upper()}_NS"]:
        breach(f"shares the {space} namespace of the host")
if os.uname().nodename == HOST["HOST_NAME"]:
    breach("knows the name of the host")
for what, limit, most in (("core", resource.RLIMIT_CORE, 0), ("locked memory", resource.RLIMIT_MEMLOCK, 16 << 20),
                          ("message queues", resource.RLIMIT_MSGQUEUE, 1 << 20), ("descriptors", resource.RLIMIT_NOFILE, 4096),
                          ("real time", resource.RLIMIT_RTPRIO, 0), ("pending signals", resource.RLIMIT_SIGPENDING, 8192),
                          ("stack", resource.RLIMIT_STACK, 1 << 30), ("niceness", resource.RLIMIT_NICE, 0)):
    soft, hard = resource.getrlimit(limit)
    if hard == resource.RLIM_INFINITY or hard > most:
        breach(f"bound on {what} is {hard}")
if os.getsid(0) == 0 or os.getpgid(0) == 0:
    breach("shares a session with a process outside")
verdict()
