# A proper daemon: forks twice, new session, closes everything, then sleeps on.
# attacks: the end of the run must be the end of all its processes
# expect-status: ok
# expect-stdout: HELD
# seconds-max: 10
if os.fork() == 0:
    os.setsid()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.chdir("/")
        os.closerange(0, 256)
        time.sleep(60)
    os._exit(0)
os.wait()
verdict()
