# Opens performance counters, a frequent way into the kernel and a view of its neighbours.
# attacks: perf_event_open
# expect-status: ok
# expect-stdout: HELD
attributes = (ctypes.c_uint32 * 32)(1, 128, 0, 0)
attempt_call("own process", 298, attributes, 0, -1, -1, 0)
attempt_call("whole machine", 298, attributes, -1, 0, -1, 0)
attempt_call("an event that does not exist", 298, (ctypes.c_uint32 * 32)(99, 128), 0, -1, -1, 0)
verdict()
