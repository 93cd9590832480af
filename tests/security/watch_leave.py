# Uses programs and modules of the shared system for three seconds, as any neighbour would.
# attacks: nothing: it is what watch_find.py looks for
# expect-status: ok
# expect-stdout: LEFT
import subprocess

end = time.monotonic() + 3
while time.monotonic() < end:
    subprocess.run(["/usr/bin/tac", "/dev/null"], check=True)
    open("/usr/bin/tac", "rb").read(16)
    time.sleep(0.1)
print("LEFT")
