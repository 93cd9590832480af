# Creates empty files until refused, in every place that can be written.
# attacks: the bound on inodes
# expect-status: ok
# expect-stdout: HELD
# timeout: 30
for place in ("/tmp", "/dev/shm", "."):
    made = 0
    try:
        while made < 100000:
            os.close(os.open(f"{place}/i{made}", os.O_CREAT | os.O_WRONLY | os.O_EXCL))
            made += 1
        breach(f"{made} files in {place}")
    except OSError as error:
        print("refused after", made, "in", place, name(error.errno))
verdict()
