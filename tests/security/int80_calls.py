# Makes 32-bit system calls by machine code: `int 0x80` has its own table of numbers.
# attacks: the filter's check of the architecture
# expect-status: ok
# expect-stdout: HELD
# control: breach
import mmap

# mov eax, 20 (getpid of i386); int 0x80; ret
CODE = bytes.fromhex("b814000000cd80c3")


def call(address):
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()


def anonymous():
    area = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(CODE)
    return call(ctypes.addressof(ctypes.c_char.from_buffer(area)))


def made_executable():
    area = mmap.mmap(-1, 4096)
    area.write(CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    if LIBC.mprotect(ctypes.c_void_p(address), 4096, 5) != 0:
        return -ctypes.get_errno()
    return call(address)


def from_file(descriptor):
    os.write(descriptor, CODE.ljust(4096, b"\0"))
    LIBC.mmap.restype = ctypes.c_void_p
    address = LIBC.mmap(None, 4096, 5, 2, descriptor, ctypes.c_long(0))
    if address == ctypes.c_void_p(-1).value:
        return -ctypes.get_errno()
    return call(address)


def over_libc():
    """The kernel writes to read-only pages when asked through /proc/self/mem."""
    address = ctypes.cast(LIBC.a64l, ctypes.c_void_p).value
    memory = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(memory, CODE, address)
    return call(address)


ways = {"anonymous": anonymous, "made executable": made_executable, "over libc": over_libc,
        "memfd": lambda: from_file(os.memfd_create("code"))}
for place in ("/tmp", "/dev/shm", "."):
    ways[f"file in {place}"] = lambda place=place: from_file(os.open(f"{place}/code", os.O_RDWR | os.O_CREAT, 0o700))
ran = 0
for way, action in ways.items():
    result = in_child(action)
    print(way, result if isinstance(result, str) or result > 0 else name(result))
    ran += result == f"signal {int(signal.SIGSYS)}"
    # A kernel without 32-bit support answers with SIGSEGV; a refusal to map comes as an error.
    if isinstance(result, int) and result > 0:
        breach(f"{way}: getpid answered {result}")
print(ran, "ways ran machine code and were stopped by the filter")
verdict()
