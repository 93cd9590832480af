# Kills itself with the signal of the filter.
# attacks: the report of the end
# expect-status: killed
# expect-signal: 31
signal.signal(signal.SIGSYS, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGSYS)
