# Replaces the folder of artifacts by a FIFO, so that opening it would wait for ever.
# attacks: the collector's time
# expect-status: ok
# expect-stdout: HELD
# expect-artifacts: []
# seconds-max: 10
os.rmdir("out")
os.mkfifo("out")
verdict()
