# Leaves FIFOs and sockets as artifacts: opening them would wait for ever.
# attacks: the collector's time
# expect-status: ok
# expect-stdout: HELD
# expect-artifacts: ["honest.txt"]
# seconds-max: 10
import socket

open("out/honest.txt", "w").write("honest")
for number in range(5):
    os.mkfifo(f"out/fifo{number}")
    socket.socket(socket.AF_UNIX).bind(f"out/socket{number}")
os.mkfifo("out/folder.fifo")
open("out/unreadable", "w").close()
os.chmod("out/fifo0", 0o777)
os.unlink("out/unreadable")
verdict()
