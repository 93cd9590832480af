# The first thread ends while another goes on, then that one executes another program: the process is one.
# attacks: an end seen where there is none
# expect-status: error
# expect-return-code: 9
# expect-stdout: after
import threading


def rest():
    time.sleep(0.3)
    os.execv("/bin/bash", ["bash", "-c", "echo after; exit 9"])


threading.Thread(target=rest).start()
LIBC.syscall(ctypes.c_long(60), ctypes.c_long(0))
