# Files left in out/, also in folders and with names beyond ASCII.
# expect-status: ok
# expect-stdout: written
# expect-artifacts: ["empty", "plots/one.bin", "übersicht.txt"]
import os

os.makedirs("out/plots")
open("out/übersicht.txt", "w").write("overview")
open("out/plots/one.bin", "wb").write(bytes(range(256)))
open("out/empty", "w").close()
print("written")
