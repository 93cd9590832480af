# Handlers, alarms, waiting for signals, groups and sessions of processes.
# expect-status: ok
# expect-stdout: alarm usr1 child -15
import os
import signal
import subprocess

said = []
signal.signal(signal.SIGALRM, lambda *_: said.append("alarm"))
signal.signal(signal.SIGUSR1, lambda *_: said.append("usr1"))
signal.setitimer(signal.ITIMER_REAL, 0.05)
signal.pause()
os.kill(os.getpid(), signal.SIGUSR1)
child = subprocess.Popen(["sleep", "20"], start_new_session=True)
os.killpg(child.pid, signal.SIGTERM)
said += ["child", str(child.wait())]
print(*said)
