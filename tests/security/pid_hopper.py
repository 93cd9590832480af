# A process that forks and dies a thousand times a second, so that whoever lists and kills is always too late.
# attacks: the kill of the whole tree must be atomic
# expect-status: ok
# expect-stdout: HELD
if os.fork() == 0:
    os.setsid()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if os.fork() > 0:
                os._exit(0)
        except OSError:
            time.sleep(0.001)
verdict()
