# Runs programs with the setuid bit, and sets that bit on its own.
# attacks: privileges by exec
# expect-status: ok
# expect-stdout: HELD
# control: breach
import stat
import subprocess


def identity(process):
    for line in open(f"/proc/{process}/status"):
        if line.startswith(("Uid:", "Gid:")):
            if set(line.split()[1:]) - {str(os.getuid()), str(os.getgid())}:
                return line.strip()
    return None


found = []
for folder in ("/usr/bin", "/usr/sbin", "/usr/lib/openssh", "/usr/libexec", "/bin", "/sbin"):
    if os.path.isdir(folder):
        for entry in os.scandir(folder):
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
                found.append(entry.path)
print(len(found), "programs have the bit")
# Copies of a program that stays long enough to be looked at.
shutil_copy = open("/bin/sleep", "rb").read()
for place in (".", "/tmp", "/dev/shm"):
    path = f"{place}/mine"
    with open(path, "wb") as file:
        file.write(shutil_copy)
    try:
        os.chmod(path, 0o6755)
    except OSError as error:
        print("refused the bit", place, name(error.errno))
    found.append(path)
for path in found:
    if os.path.basename(path) in ("su", "passwd", "chsh", "chfn", "newgrp", "mine", "gpasswd"):
        try:
            child = subprocess.Popen([path, "5"] if path.endswith("mine") else [path], stdin=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError as error:
            print("refused", path, name(error.errno))
            continue
        # Popen returns after the exec, so the identity is the program's.
        try:
            if strange := identity(child.pid):
                breach(f"{path} runs as {strange}")
        except (OSError, ProcessLookupError):
            breach(f"{path} cannot be looked at") if child.poll() is None else print("over", path, child.returncode)
        child.kill()
        child.wait()
verdict()
