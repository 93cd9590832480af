# Makes timers and queues real-time signals until refused.
# attacks: kernel memory through timers and pending signals, counted for the user
# expect-status: ok
# expect-stdout: HELD
signal.pthread_sigmask(signal.SIG_BLOCK, range(34, 65))
timer = ctypes.c_int()
made = 0
while made < 20000 and syscall(222, 1, None, ctypes.byref(timer)) >= 0:
    made += 1
queued = 0
while queued < 20000 and syscall(129, os.getpid(), 40, (ctypes.c_int * 32)(40, 0, -1)) == 0:
    queued += 1
print(made, "timers", queued, "signals")
if made + queued >= 20000:
    breach("no bound")
verdict()
