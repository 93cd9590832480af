# Threads, a pool and a queue.
# expect-status: ok
# expect-stdout: 4950 20
import concurrent.futures
import queue
import threading

with concurrent.futures.ThreadPoolExecutor(8) as pool:
    total = sum(pool.map(lambda n: n, range(100)))
jobs = queue.Queue()
threads = [threading.Thread(target=jobs.put, args=(n,)) for n in range(20)]
[t.start() for t in threads]
[t.join() for t in threads]
print(total, jobs.qsize())
