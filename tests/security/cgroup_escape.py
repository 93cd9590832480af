# Leaves its control groups: writes their files, mounts them, plants a release agent.
# attacks: the cgroup limits and CVE-2022-0492
# expect-status: ok
# expect-stdout: HELD
# control: breach
only_in_a_cell()
os.mkdir("c")
for options in (b"memory", b"pids", b"rdma", b"none,name=ump", b"devices"):
    attempt_call(f"mount v1 {options.decode()}", 165, b"cgroup", b"c", b"cgroup", 0, options)
attempt_call("mount v2", 165, b"cgroup2", b"c", b"cgroup2", 0, None)
for path in ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs", "/sys/fs/cgroup/memory/release_agent",
             "/sys/fs/cgroup/unified/cgroup.procs", "/sys/fs/cgroup/pids/tasks"):
    attempt(path, lambda: os.open(path, os.O_WRONLY), REFUSED | {errno.ENOENT, errno.EROFS})
for folder, _, files in os.walk("/sys"):
    breach(f"{folder} holds {files[:3]}") if files else None
for line in open("/proc/self/cgroup"):
    path = line.strip().split(":", 2)[2]
    if path != "/":
        breach(f"sees its place in the host's groups: {line.strip()}")
verdict()
