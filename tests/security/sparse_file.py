# A file of 1 TiB that holds nothing, or the largest that is granted, left as an artifact beside an honest one.
# attacks: the collector's memory and time
# expect-status: ok
# expect-artifacts: ["honest.txt"]
# seconds-max: 10
open("out/honest.txt", "w").write("honest")
for place in ("out", "/tmp"):
    with open(f"{place}/sparse", "wb") as file:
        for size in (1 << 40, int(HOST["LIMIT_DISK"])):
            try:
                file.truncate(size)
                print("made", place, size)
                break
            except OSError as error:
                print("refused", place, size, name(error.errno))
verdict()
