# Makes POSIX message queues and System V objects until refused.
# attacks: kernel memory through IPC objects
# expect-status: ok|oom
made = 0
while made < 5000 and syscall(240, f"q{made}".encode(), 0o102, 0o600, (ctypes.c_long * 8)(0, 10, 8192)) >= 0:
    made += 1
print("queues", made)
if made >= 1000:
    breach(f"{made} message queues")
pushed = 0
queue = syscall(68, 0, 0o1600)
message = ctypes.create_string_buffer(8 + 4096)
message[0] = 1
while queue >= 0 and pushed < 65536 and syscall(69, queue, message, 4096, 0o4000) == 0:
    pushed += 1
print("messages", pushed)
if pushed * 4096 > int(HOST["LIMIT_MEMORY"]):
    breach(f"{pushed} messages")
verdict()
