# Five hundred orphans one after the other, each adopted by PID 1 under a bound of 24 processes.
# attacks: the reaping of orphans: an init that does not wait would let zombies use up the bound
# expect-status: ok
# expect-stdout: HELD 500
# limits: {"pids": 24}
# timeout: 20
born = 0
waits = 0
while born < 500:
    try:
        child = os.fork()
    except BlockingIOError:
        # Dying orphans still count until PID 1 gets to run.
        waits += 1
        if waits > 2000:
            breach(f"zombies are not reaped: stuck after {born}")
            break
        time.sleep(0.005)
        continue
    if child == 0:
        try:
            os.fork()
        except BlockingIOError:
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        born += 1
print("HELD" if BREACHES == 0 else "", born)
