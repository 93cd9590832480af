# Ignores and blocks every signal, in its own session, with its outputs closed.
# attacks: the kill at the end of the time
# expect-status: timeout
# timeout: 1
# seconds-max: 10
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
if os.fork() == 0:
    os.setsid()
os.close(1)
os.close(2)
end = time.monotonic() + 30
while time.monotonic() < end:
    time.sleep(1)
