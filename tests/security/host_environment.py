# Looks for the server's environment in its own and in that of every process it can see.
# attacks: the clean environment
# expect-status: ok
# expect-stdout: HELD
# control: breach
known = {
    "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_", "USER", "LOGNAME",
    "TERM", "TZ", "HOSTNAME", "SHELL",
}
raw = open("/proc/self/environ", "rb").read().decode(errors="replace").split("\0")
for entry in sorted(set(raw) | {f"{key}={value}" for key, value in os.environ.items()}):
    key = entry.split("=")[0]
    if key and key not in known and not key.startswith(("PYTHON", "NODE_", "OPENBLAS_", "OMP_")):
        breach(f"variable {entry:.60}")
for process in filter(str.isdigit, os.listdir("/proc")):
    if int(process) == os.getpid():
        continue
    for kind in ("environ", "cmdline"):
        try:
            text = open(f"/proc/{process}/{kind}", "rb").read()
            if text:
                breach(f"{kind} of {process}: {text[:60]!r}")
        except OSError as error:
            print("refused", process, kind, name(error.errno))
for process in (1, os.getppid()):
    attempt(f"environment of {process}", lambda: len(open(f"/proc/{process}/environ", "rb").read()) and 0,
            REFUSED | {errno.ENOENT})
verdict()
