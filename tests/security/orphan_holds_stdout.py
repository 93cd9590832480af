# The program ends at once; an orphan keeps both outputs open and would go on writing.
# attacks: a supervisor that waits for the end of the output instead of the end of the program
# expect-status: ok
# expect-stdout: HELD
# forbid-stdout: LATE
# seconds-max: 10
if os.fork() == 0:
    os.setsid()
    time.sleep(1)
    for _ in range(20):
        os.write(1, b"LATE\n")
        time.sleep(1)
    os._exit(0)
verdict()
