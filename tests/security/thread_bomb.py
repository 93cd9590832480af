# Thread bomb: starts threads until refused.
# attacks: the bound on processes, which must count threads too
# expect-status: ok
# expect-stdout: HELD
# limits: {"pids": 32}
# control: breach
import threading

done = threading.Event()
threads = []
try:
    while len(threads) < 300:
        thread = threading.Thread(target=done.wait, args=(20,), daemon=True)
        thread.start()
        threads.append(thread)
except RuntimeError as error:
    print("refused after", len(threads), error)
if len(threads) > int(HOST["LIMIT_PIDS"]):
    breach(f"{len(threads)} threads at once")
done.set()
verdict()
