# Fork bomb: forks until refused; every child sleeps.
# attacks: the bound on processes of the tree
# expect-status: ok
# expect-stdout: HELD
# limits: {"pids": 32}
# control: breach
children = []
try:
    while len(children) < 300:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            time.sleep(20)
            os._exit(0)
        children.append(child)
except OSError as error:
    print("refused after", len(children), name(error.errno))
if len(children) > int(HOST["LIMIT_PIDS"]):
    breach(f"{len(children)} processes at once")
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
verdict()
