# A database on disk with a write-ahead log: locks, mmap and fsync.
# expect-status: ok
# expect-stdout: 100 wal
import sqlite3

with sqlite3.connect("data.db") as db:
    mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    db.execute("CREATE TABLE t (n INTEGER)")
    db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(100)])
with sqlite3.connect("data.db") as db:
    print(db.execute("SELECT count(*) FROM t").fetchone()[0], mode)
