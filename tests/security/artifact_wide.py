# Leaves a thousand folders with nothing in them, each with a thousand-fold twin.
# attacks: the collector's time, where no file counts against a bound
# expect-status: ok
# expect-stdout: HELD
# artifacts-max: 1
# timeout: 20
# seconds-max: 10
made = 0
try:
    for made in range(5000):
        os.makedirs(f"out/{made % 50}/{made}")
except OSError as error:
    print("refused after", made, name(error.errno))
verdict()
