"""The same no-op for Celery: enqueue all, then work all, results kept in Redis."""

import os
import sys
import time

from celery import Celery

url = os.environ["BENCH_REDIS"]
app = Celery("celery_app", broker=url, backend=url)
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    # What the queue beside it promises as well: a task is acknowledged after it ran.
    task_acks_late=True,
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    task_send_sent_event=False,
)


@app.task(name="add")
def add(a, b):
    return {"sum": a + b}


def enqueue(count):
    started = time.monotonic()
    for _ in range(count):
        add.apply_async((1, 2), ignore_result=False)
    took = time.monotonic() - started
    print(f"enqueued {count} in {took:.2f}s: {count / took:.0f} jobs/s", flush=True)


def wait(count):
    """Waits until so many results are stored; the first result starts the clock, so that the start of
    the workers does not count."""
    import redis

    client = redis.Redis.from_url(url)
    begun = None
    while True:
        # One key per result; nothing else is in this database but the queue itself and bindings.
        done = max(0, client.dbsize() - 8)
        now = time.monotonic()
        if begun is None and done > 0:
            begun, first = now, done
        if begun is not None and client.llen("celery") == 0 and client.hlen("unacked") == 0:
            took = now - begun
            rate = (count - first) / took
            print(f"worked {count} in {took:.2f}s after the first: {rate:.0f} jobs/s", flush=True)
            return
        time.sleep(0.02)


if __name__ == "__main__":
    {"enqueue": enqueue, "wait": wait}[sys.argv[1]](int(sys.argv[2]))
