# Stores and reads keys in the kernel, which no namespace but the user's divides.
# attacks: add_key, request_key, keyctl
# expect-status: ok
# expect-stdout: HELD
# control: breach
for ring in (-1, -2, -3, -4, -5):
    attempt_call(f"add_key to {ring}", 248, b"user", b"ump", b"x", 1, ring)
    attempt_call(f"find ring {ring}", 250, 0, ring, 1, 0, 0)
attempt_call("request_key", 249, b"user", b"ump", None, 0)
attempt_call("join a session", 250, 1, None, 0, 0, 0)
attempt_call("persistent ring", 250, 22, -1, -3, 0, 0)
verdict()
