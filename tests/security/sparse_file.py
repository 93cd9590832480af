# A file of 1 TiB that holds nothing, left as an artifact beside an honest one.
# attacks: the collector's memory and time
# expect-status: ok
# expect-artifacts: ["honest.txt"]
# seconds-max: 8
open("out/honest.txt", "w").write("honest")
for place in ("out", "/tmp"):
    try:
        with open(f"{place}/sparse", "wb") as file:
            file.truncate(1 << 40)
        print("made", place)
    except OSError as error:
        print("refused", place, name(error.errno))
verdict()
