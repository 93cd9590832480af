# Makes inotify instances until refused: they are counted for the owner of the user namespace too.
# attacks: the host's own quota (fs.inotify.max_user_instances, 128 by default), shared by root and every run
# expect-status: ok
# expect-stdout: HELD
made = 0
while made < 4096 and (last := syscall(294, 0)) >= 0:
    made += 1
print(made, "instances,", name(last))
if made > 64:
    breach(f"{made} inotify instances")
verdict()
