# A daemon that keeps starting daemons while the run ends by its time.
# attacks: the kill at the end of the time, of processes outside the group and session of the program
# expect-status: timeout
# limits: {"pids": 32}
# timeout: 1
# seconds-max: 10
end = time.monotonic() + 20
if os.fork() == 0:
    os.setsid()
while time.monotonic() < end:
    try:
        if os.fork() == 0:
            os.setsid()
            time.sleep(20)
            os._exit(0)
    except OSError:
        time.sleep(0.01)
