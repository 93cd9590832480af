# A pool of processes, shared memory, a lock and a queue: semaphores in /dev/shm.
# expect-status: ok
# expect-stdout: 285 3 7
import multiprocessing
from multiprocessing import shared_memory


def square(n):
    return n * n


def add(counter):
    with counter.get_lock():
        counter.value += 1


context = multiprocessing.get_context("fork")
with context.Pool(2) as pool:
    total = sum(pool.map(square, range(10)))
counter = context.Value("i", 0)
workers = [context.Process(target=add, args=(counter,)) for _ in range(3)]
[w.start() for w in workers]
[w.join() for w in workers]
block = shared_memory.SharedMemory(create=True, size=16)
block.buf[0] = 7
print(total, counter.value, block.buf[0])
block.close()
block.unlink()
