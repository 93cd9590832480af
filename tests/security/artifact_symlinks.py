# Leaves links to files of the host and of the cell as artifacts.
# attacks: a collector that follows links reads as the launcher, outside the cell
# expect-status: ok
# expect-stdout: HELD
# expect-artifacts: ["honest.txt"]
open("out/honest.txt", "w").write("honest")
for number, target in enumerate(("/etc/passwd", "/etc/shadow", HOST["CANARY_FILE"], "/proc/self/environ", "/proc/1/environ",
                                 "../../../../../../../../etc/shadow", "/dev/zero", "/proc/kcore", "loop", "/")):
    os.symlink(target, f"out/link{number}")
os.symlink("loop", "out/loop")
os.symlink(os.path.dirname(HOST["CANARY_FILE"]), "out/folder")
os.symlink("/proc/self/root", "out/root")
os.symlink("honest.txt", "out/inside")
verdict()
