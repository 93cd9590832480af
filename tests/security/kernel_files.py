# Reads the kernel's own files and looks for device nodes beyond the harmless few.
# attacks: kernel addresses, keys, command line, /sys, raw devices
# expect-status: ok
# expect-stdout: HELD
# control: breach
for file in ("kcore", "kmsg", "keys", "timer_list", "vmallocinfo", "slabinfo", "cmdline", "config.gz", "modules",
             "sysrq-trigger", "iomem", "ioports", "kpagecount", "kpageflags", "pagetypeinfo", "sched_debug",
             "cgroups", "partitions", "diskstats", "acpi", "scsi", "latency_stats", "interrupts"):
    path = f"/proc/{file}"
    try:
        if os.path.isdir(path):
            found = os.listdir(path)
        else:
            found = os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 200)
        # Addresses shown as zeros say nothing.
        if found:
            breach(f"{path}: {found!r:.60}")
    except OSError as error:
        print("refused", path, name(error.errno))
try:
    shown = {line.split()[0] for line in open("/proc/kallsyms")}
    if shown - {"0000000000000000"}:
        breach("kallsyms shows addresses")
except OSError as error:
    print("refused kallsyms", name(error.errno))
if os.path.isdir("/sys") and os.listdir("/sys"):
    breach(f"/sys holds {os.listdir('/sys')[:5]}")
harmless = {"null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm", "core"}
if strange := set(os.listdir("/dev")) - harmless:
    breach(f"in /dev: {sorted(strange)[:8]}")
for device in ("mem", "kmem", "port", "kvm", "kmsg", "vda", "sda", "loop0", "net/tun", "fuse", "vsock", "ptmx", "tty",
               "userfaultfd", "cpu_dma_latency", "vhost-net"):
    attempt(f"/dev/{device}", lambda: os.open(f"/dev/{device}", os.O_RDONLY | os.O_NONBLOCK),
            REFUSED | {errno.ENOENT, errno.ENXIO})
verdict()
