# Ends while a child still holds the full input pipe.
# attacks: a supervisor that waits to finish writing
# stdin-bytes: 1048576
# expect-status: ok
# expect-stdout: HELD
# seconds-max: 10
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
verdict()
