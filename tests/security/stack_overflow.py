# Overflows the stack of the machine below the interpreter.
# attacks: the report of a crash: it is the program's own, not the cell's
# expect-status: killed
# expect-signal: 11
# limits: {"memory_mb": 512}
sys.setrecursionlimit(1 << 30)
# Repr of nested lists recurses in C.
nested = []
for _ in range(1_000_000):
    nested = [nested]
repr(nested)
