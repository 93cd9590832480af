def zygote():
    import _imp, atexit, gc, io, posix, sys, threading, _sitebuiltins
    for name in sys.argv[1:]:
        __import__(name)
    class Cell:
        name, origin = "_cell", "/proc/self/fd/4"
    cell = _imp.create_dynamic(Cell)
    sys.modules.pop("_cell", None)
    source = '''
class A:
    def __init__(self, n): self.n = n
    def f(self): return [i * 2 for i in range(self.n)]
def g(a, b=1, *c, **d):
    try:
        raise ValueError("x")
    except ValueError as e:
        return {"a": a, "s": str(e), **d}
for i in range(50): i * 31 % 1000003
print(A(10).f(), g(1, k=2), f"{1.5:.2f}", sep=" ")
'''
    def warm():
        exec(compile(source, "<warm>", "exec"), {"__name__": "warm"})
        sys.stdout.flush()
    def stream(number, mode, old):
        binary = io.open(number, mode + "b", -1, closefd=False)
        binary.raw.name = old.name
        text = io.TextIOWrapper(binary, old.encoding, old.errors, "\n", old.line_buffering)
        text.mode = mode
        return text
    def unique():
        if "multiprocessing.process" in sys.modules:
            import os
            current = sys.modules["multiprocessing.process"].current_process()
            current.authkey = os.urandom(32)
        if "logging" in sys.modules:
            import time
            sys.modules["logging"]._startTime = time.time()
    for _ in range(3):
        warm()
    gc.collect()
    gc.freeze()
    cell.serve()
    unique()
    sys.stdin = sys.__stdin__ = stream(0, "r", sys.__stdin__)
    sys.stdout = sys.__stdout__ = stream(1, "w", sys.__stdout__)
    sys.stderr = sys.__stderr__ = stream(2, "w", sys.__stderr__)
    del sys.argv[1:], sys.orig_argv[6:]
    warm()
    known = frozenset(sys.modules)
    streams = (sys.stdin, sys.stdout, sys.stderr)
    streams += tuple(stream.buffer for stream in streams)
    streams += tuple(stream.raw for stream in streams[3:])
    leave, collect, objects, thaw = posix._exit, gc.collect, gc.get_objects, gc.unfreeze
    def tidy():
        # What Py_FinalizeEx does, without taking all the modules apart that were there before the run.
        # False when something is left that only the interpreter itself can end well.
        threading._shutdown()
        atexit._run_exitfuncs()
        for name in set(sys.modules) - known:
            origin = getattr(getattr(sys.modules[name], "__spec__", None), "origin", None)
            if not origin or not (origin in ("built-in", "frozen") or origin.startswith(library)):
                return False
        scope = sys.modules["__main__"].__dict__
        for private in (True, False):
            for name in list(scope):
                if name != "__builtins__" and (name[:1] == "_" and name[1:2] != "_") == private:
                    scope[name] = None
        collect()
        for left in objects():
            kind = type(left)
            if hasattr(kind, "__del__") and not any(left is stream for stream in streams):
                return False
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        return True
    def finish(run):
        sys.modules["__main__"].__dict__.pop("finish", None)
        status = 0
        try:
            run()
        except SystemExit as end:
            if not (end.code is None or type(end.code) is int and 0 <= end.code < 256):
                thaw()
                raise
            status = end.code or 0
            end.__traceback__ = None
        except BaseException as error:
            # As deep as without this function: what shows it leaves out two frames.
            thaw()
            trace = error.__traceback__.tb_next
            raise error.with_traceback(trace and trace.tb_next)
        try:
            done = tidy()
        except BaseException:
            done = False
        if done:
            leave(status)
        # What is frozen would never be collected, and what it holds never be closed.
        thaw()
        sys.exit(status)
    library = sys.prefix + "/lib/python%d.%d/" % sys.version_info[:2]
    cell.wait()
    return finish
finish = zygote()
del zygote
