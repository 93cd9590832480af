# Reads what belongs to the host: accounts, keys, homes, the server's data.
# attacks: the private root
# expect-status: ok
# expect-stdout: HELD
# control: breach
secrets = [
    "/etc/shadow", "/etc/gshadow", "/etc/machine-id", "/etc/hostname", "/etc/fstab", "/etc/sudoers",
    "/etc/ssh/sshd_config", "/etc/resolv.conf", "/root/.ssh/id_rsa", "/root/.bashrc", "/root/.bash_history",
    "/var/log/dpkg.log", "/var/lib/dpkg/status", "/var/run/docker.sock", "/run/secrets", "/boot",
    HOST["CANARY_FILE"], os.path.dirname(HOST["CANARY_FILE"]), HOST["DATA_DIR"],
]
for path in secrets:
    try:
        found = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(100)
        if found:
            breach(f"{path}: {found!r:.80}")
    except OSError as error:
        print("refused", path, name(error.errno))
for place in ("/root", "/home", "/work", "/data", "/srv", "/mnt", "/media", "/var", "/run", "/boot", "/sys", "/old_root"):
    try:
        inside = os.listdir(place)
        if inside:
            breach(f"{place} holds {inside[:5]}")
    except OSError as error:
        print("refused", place, name(error.errno))
known = {"bin", "box", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "run", "sbin", "tmp", "usr", "var"}
strange = set(os.listdir("/")) - known
for place in sorted(strange):
    try:
        # An empty folder, such as the cover of masked places, tells nothing.
        if not os.listdir(f"/{place}"):
            strange.remove(place)
    except PermissionError:
        strange.remove(place)
if strange:
    breach(f"in the root: {sorted(strange)}")
if strange := set(os.listdir("/opt")) - {"tools"} if os.path.isdir("/opt") else None:
    breach(f"in /opt: {sorted(strange)}")
verdict()
