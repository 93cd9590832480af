# Runs programs with the setuid bit, and sets that bit on its own.
# attacks: privileges by exec
# expect-status: ok
# expect-stdout: HELD
# control: breach
import re
import stat
import subprocess

found = []
for folder in ("/usr/bin", "/usr/sbin", "/usr/lib/openssh", "/usr/libexec", "/bin", "/sbin", "/opt/tools"):
    if os.path.isdir(folder):
        for entry in os.scandir(folder):
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
                found.append(entry.path)
print(len(found), "programs have the bit")
# Copies with the bit, in every place that can be written.
sleep = open("/bin/sleep", "rb").read()
for place in (".", "/tmp", "/dev/shm"):
    path = f"{place}/mine"
    with open(path, "wb") as file:
        file.write(sleep)
    try:
        os.chmod(path, 0o6755)
    except OSError as error:
        print("refused the bit", place, name(error.errno))
    found.append(path)
for path in found:
    if os.path.basename(path) not in ("su", "passwd", "chsh", "chfn", "newgrp", "gpasswd", "mount", "umount", "mine"):
        continue
    try:
        # The loader tells the identities by itself, unless the program gained some: then it keeps silent.
        said = subprocess.run([path, "--help"], env={"LD_SHOW_AUXV": "1"}, stdin=subprocess.DEVNULL, timeout=10,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode(errors="replace")
    except OSError as error:
        print("refused", path, name(error.errno))
        continue
    if not re.search(r"AT_SECURE:\s+0", said) or not re.search(rf"AT_EUID:\s+{os.getuid()}\b", said):
        breach(f"{path} runs with more rights: {said:.60}")
verdict()
