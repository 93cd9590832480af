import sys, posix, _ast, _signal

# Drives a Python interpreter that stays. The server asks on descriptor 3 and reads answers on 4; frames
# are those of sandbox/src/wire/step.rs. User code shares this process: nothing here is trusted outside.


def drive():
    main = posix.getpid()
    # Whether the user's code runs, and whether an interrupt came when it did not yet.
    busy = [False, False]
    scope = prepare()

    def interrupt(number, frame):
        if busy[0]:
            raise KeyboardInterrupt
        busy[1] = True

    def in_child():
        # A fork of the user's own must neither take requests nor answer them.
        for number in (3, 4):
            try:
                posix.close(number)
            except OSError:
                pass

    posix.register_at_fork(after_in_child=in_child)
    for number in (3, 4):
        posix.set_inheritable(number, False)
    while True:
        head = exactly(16)
        token, length = head[4:12], int.from_bytes(head[12:16], "little")
        fields = Fields(exactly(length))
        kind, stale = fields.number(1), fields.number(1)
        if stale:
            busy[1] = False
        _signal.signal(_signal.SIGINT, interrupt)
        if kind == 1:
            name, code = fields.bytes().decode(), fields.bytes()
            bounds = [fields.number(4) for _ in range(3)]
            answer = step(scope, busy, name, code, bounds)
        elif kind == 2:
            answer = guarded(busy, lambda: write(fields), [0, 0, 0])
        else:
            answer = b"\1\0\0\0\0\0"
        if posix.getpid() != main:
            posix._exit(0)
        everything(head[:4] + token + len(answer).to_bytes(4, "little") + answer)


def prepare():
    """What `python3 file.py` would find: paths, `__main__`, `exit`."""
    version = "%d.%d" % sys.version_info[:2]
    sys.argv[:] = [""]
    sys.path[:0] = ["/box"]
    sys.path += ["/usr/local/lib/python" + version + "/dist-packages",
                 "/usr/local/lib/python" + version + "/site-packages",
                 "/usr/lib/python3/dist-packages",
                 "/usr/lib/python" + version + "/site-packages"]
    import builtins

    def leave(code=None):
        """Ends the step; the sandbox and its variables stay."""
        raise SystemExit(code)

    builtins.exit = builtins.quit = leave
    sys.stdout.reconfigure(line_buffering=True)
    module = type(sys)("__main__")
    module.__builtins__ = builtins
    sys.modules["__main__"] = module
    return module.__dict__


class Fields:
    def __init__(self, body):
        self.body, self.at = body, 0

    def take(self, length):
        part = self.body[self.at:self.at + length]
        self.at += length
        return part

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def bytes(self):
        return self.take(self.number(4))


def exactly(length):
    parts = bytearray()
    while len(parts) < length:
        part = posix.read(3, min(length - len(parts), 1 << 20))
        if not part:
            posix._exit(0)
        parts += part
    return bytes(parts)


def everything(data):
    view = memoryview(data)
    while view:
        view = view[posix.write(4, view):]


def step(scope, busy, name, code, bounds):
    lines = []

    def run():
        source = code.decode()
        lines.append(source)
        tree = compile(source, name, "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
        last = None
        if tree.body and type(tree.body[-1]) is _ast.Expr:
            last = _ast.Expression(tree.body.pop().value)
        exec(compile(tree, name, "exec", dont_inherit=True), scope)
        if last is not None:
            return eval(compile(last, name, "eval", dont_inherit=True), scope)

    return guarded(busy, run, bounds, name, lines)


def guarded(busy, body, bounds, name="", lines=()):
    """Runs `body` so that an interrupt reaches it and nothing beyond it; answers the reply."""
    try:
        try:
            busy[0] = True
            if busy[1]:
                raise KeyboardInterrupt
            answer = shown(body(), bounds)
            flush()
        finally:
            busy[0] = False
        return answer
    except BaseException as error:
        busy[:] = False, False
        problem = error
    try:
        try:
            busy[0] = True
            answer = failed(problem, name, lines)
            flush()
        finally:
            busy[0] = False
        return answer
    except BaseException:
        busy[0] = False
        return b"\0\0\1" + text("Exception", 64) + text("its traceback could not be shown", 64) + b"\0\0\0"


def shown(value, bounds):
    if value is None:
        return b"\1\0\0\0\0\0"
    said = repr(value).encode("utf-8", "backslashreplace")
    cut = len(said) > bounds[0]
    answer = b"\1\0\0\1" + sized(said[:bounds[0]]) + (b"\1" if cut else b"\0")
    for form, most in (("_repr_html_", bounds[1]), ("_repr_png_", bounds[2])):
        data = None
        try:
            if hasattr(type(value), form):
                data = getattr(value, form)()
            if isinstance(data, str):
                data = data.encode("utf-8", "backslashreplace")
        except Exception:
            data = None
        if isinstance(data, (bytes, bytearray)) and len(data) <= most:
            answer += b"\1" + sized(bytes(data))
        else:
            answer += b"\0"
    return answer


def failed(error, name, lines):
    if isinstance(error, SystemExit):
        code = error.code
        if code is None:
            code = 0
        elif not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
        code &= 0xff
        return (b"\0" if code else b"\1") + b"\1" + code.to_bytes(4, "little") + b"\0\0\0\0"
    import linecache
    import traceback
    for source in lines:
        # Named as no file is, so that the lines of a function are found in later steps too.
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
        trace = trace.tb_next
    told = "".join(traceback.format_exception(type(error), error, trace))
    try:
        if name:
            sys.stderr.write(told)
    except Exception:
        posix.write(2, told.encode("utf-8", "backslashreplace")[:65536])
    try:
        message = str(error)
    except Exception:
        message = ""
    kind = type(error)
    named = kind.__name__ if kind.__module__ == "builtins" else kind.__module__ + "." + kind.__qualname__
    return b"\0\0\1" + text(named, 4096) + text(message, 4096) + b"\0\0\0"


def text(said, most):
    return sized(said.encode("utf-8", "backslashreplace")[:most])


def sized(data):
    return len(data).to_bytes(4, "little") + data


def flush():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            pass


def write(fields):
    """Places files beneath /box, following nothing; what stood there is replaced, not written through."""
    for _ in range(fields.number(4)):
        path, data = fields.bytes(), fields.bytes()
        folders, file = path.split(b"/")[:-1], path.split(b"/")[-1]
        flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
        here = posix.open("/box", flags)
        try:
            for folder in folders:
                try:
                    posix.mkdir(folder, 0o755, dir_fd=here)
                except FileExistsError:
                    pass
                below = posix.open(folder, flags, dir_fd=here)
                posix.close(here)
                here = below
            draft = b".ultimate_mcp.part"
            try:
                posix.unlink(draft, dir_fd=here)
            except FileNotFoundError:
                pass
            flags_out = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
            out = posix.open(draft, flags_out, 0o644, dir_fd=here)
            try:
                view = memoryview(data)
                while view:
                    view = view[posix.write(out, view):]
            finally:
                posix.close(out)
            posix.rename(draft, file, src_dir_fd=here, dst_dir_fd=here)
        finally:
            posix.close(here)


drive()
