# A daemon keeps swapping an artifact for a link to a file of the host while the run is collected.
# attacks: the time between check and use: everything must be dead before the first look
# expect-status: ok
# expect-stdout: HELD
os.symlink(HOST["CANARY_FILE"], "link")
os.symlink(os.path.dirname(HOST["CANARY_FILE"]), "folder.link")
open("plain", "w").write("plain")
if os.fork() == 0:
    os.setsid()
    end = time.monotonic() + 20
    turn = 0
    while time.monotonic() < end:
        turn += 1
        for source, target in (("link", "out/flip"), ("plain", "out/flip")):
            try:
                os.link(source, f"step{turn % 7}", follow_symlinks=False)
                os.rename(f"step{turn % 7}", target)
            except OSError:
                pass
        try:
            os.rename("out", "away")
            os.symlink("folder.link", "out")
            os.unlink("out")
            os.rename("away", "out")
        except OSError:
            pass
time.sleep(0.2)
verdict()
