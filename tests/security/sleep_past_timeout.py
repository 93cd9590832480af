# Sleeps past its time.
# attacks: the bound on wall clock time, where no processor time is used
# expect-status: timeout
# timeout: 1
# seconds-max: 10
time.sleep(30)
breach("slept 30 s")
