# Overwrites the running interpreter and its libraries through the kernel's own links (CVE-2019-5736).
# attacks: /proc/self/exe, /proc/1/exe, mapped files
# expect-status: ok
# expect-stdout: HELD
# ETXTBSY is no refusal: it says that only the running program itself stood in the way.
refusals = REFUSED | {errno.EROFS, errno.ENOENT}
mapped = {line.split()[5] for line in open("/proc/self/maps") if len(line.split()) > 5 and line.split()[5].startswith("/")}
mapped = {path for path in mapped if not path.startswith(("/memfd", "/dev/zero", "/SYSV"))}
print(len(mapped), "files are mapped")
for path in sorted(mapped) + ["/proc/self/exe", "/proc/1/exe", f"/proc/{os.getppid()}/exe", sys.executable]:
    attempt(f"write {path}", lambda: os.open(path, os.O_WRONLY), refusals)


def reopened():
    """Opened for reading first, then again through the descriptor's link."""
    program = os.open("/proc/self/exe", os.O_RDONLY)
    return os.open(f"/proc/self/fd/{program}", os.O_WRONLY)


attempt("reopen by descriptor", reopened, refusals)
for file in os.listdir("/proc/self/map_files") if os.access("/proc/self/map_files", os.R_OK) else []:
    attempt(f"map_files {file}", lambda: os.open(f"/proc/self/map_files/{file}", os.O_WRONLY), refusals)
    break
verdict()
