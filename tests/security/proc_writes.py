# Opens every file of /proc outside its own processes for writing (and writes nothing).
# attacks: kernel settings: /proc/sys, sysrq-trigger, irq, mtrr, core_pattern
# expect-status: ok
# expect-stdout: HELD
# timeout: 20
tried = 0
for folder, folders, files in os.walk("/proc"):
    if folder == "/proc":
        folders[:] = [f for f in folders if not f.isdigit() and f not in ("self", "thread-self")]
    for file in files:
        path = os.path.join(folder, file)
        tried += 1
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            continue
        # A masked file is /dev/null, which anyone may write.
        if os.path.samestat(os.stat(path), os.stat("/dev/null")):
            continue
        breach(f"can write {path}")
print("tried", tried)
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger",
             "/proc/sys/vm/drop_caches", "/proc/sys/kernel/hostname"):
    attempt(path, lambda: os.open(path, os.O_WRONLY) if not os.path.samestat(os.stat(path), os.stat("/dev/null"))
            else -errno.EACCES, REFUSED | {errno.ENOENT, errno.EROFS})
attempt("lower its own OOM score", lambda: os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-1000"),
        REFUSED | {errno.EROFS, errno.ENOENT})
for file in ("uid_map", "gid_map", "setgroups", "projid_map"):
    attempt(f"write own {file}", lambda: os.write(os.open(f"/proc/self/{file}", os.O_WRONLY), b"0 0 1"),
            REFUSED | {errno.EROFS, errno.ENOENT})
verdict()
