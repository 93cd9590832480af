# Leaves whatever it can for the next run or for a neighbour, and stays for three seconds.
# attacks: what runs share: files, shared memory, message queues, abstract names, listeners, processes
# expect-status: ok
# expect-stdout: LEFT
import socket

MARK = "ump-state-8136"
for place in ("/tmp", "/dev/shm", "/box", ".", "out"):
    try:
        open(f"{place}/{MARK}", "w").write("left")
    except OSError as error:
        print("refused", place, name(error.errno))
for place in ("/tmp/.X11-unix", "/dev/shm/sem.ump"):
    try:
        os.mkdir(place)
    except OSError:
        pass
for what, number, arguments in (("shmget", 29, (0x8136, 4096, 0o1666)), ("semget", 64, (0x8136, 1, 0o1666)),
                                ("msgget", 68, (0x8136, 0o1666)), ("mq_open", 240, (b"ump-state", 0o102, 0o666, None))):
    result = syscall(number, *arguments)
    print(what, "made" if result >= 0 else name(result))
keep = []
for family, address in ((socket.AF_UNIX, "\0" + MARK), (socket.AF_UNIX, "/tmp/ump.sock"), (socket.AF_INET, ("127.0.0.1", 18136))):
    listener = socket.socket(family)
    try:
        listener.bind(address)
        listener.listen()
        keep.append(listener)
    except OSError as error:
        print("refused", address, name(error.errno))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 18136))
print("LEFT", flush=True)
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
time.sleep(3)
