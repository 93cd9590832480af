# Kills itself with the signal of the memory killer, far below its bound.
# attacks: a supervisor that takes every SIGKILL for a lack of memory
# expect-status: killed
# expect-signal: 9
os.kill(os.getpid(), signal.SIGKILL)
