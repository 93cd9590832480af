# Burns one processor and catches every signal it can.
# attacks: the bound on wall clock time
# expect-status: timeout
# timeout: 1.5
# seconds-max: 10
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
end = time.monotonic() + 30
while time.monotonic() < end:
    pass
breach("ran for 30 s")
