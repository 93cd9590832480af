# Leaves folders so deep that no path reaches the bottom.
# attacks: a collector that recurses or joins paths
# expect-status: ok
# expect-stdout: HELD
# expect-artifacts: ["honest.txt"]
# timeout: 20
# seconds-max: 10
open("out/honest.txt", "w").write("honest")
os.chdir("out")
depth = 0
try:
    for depth in range(2000):
        os.mkdir("d" * 100)
        os.chdir("d" * 100)
    open("bottom", "w").write("bottom")
except OSError as error:
    print("refused at", depth, name(error.errno))
verdict()
