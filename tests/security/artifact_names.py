# Leaves artifacts with hostile names: control characters, 255 bytes, no UTF-8, leading dots and dashes.
# attacks: whoever prints or joins the names
# expect-status: ok
# expect-stdout: HELD
# artifacts-min: 10
names = [
    b"new\nline", b"tab\there", b"\x1b[31mred\x1b[0m", b"carriage\rreturn", b"bell\x07", b"\xff\xfe\x80", b"x" * 255,
    "\u202egnp.exe".encode(), b"-rf", b"...", b"..hidden", b" ", b"%2e%2e%2f", b"a\\..\\b", b"C:evil", b"\xc0\xae\xc0\xae",
    b"$(id)", b"`id`", b"<script>", b"'\"", b"NUL", "\u00e9".encode(), "e\u0301".encode(), b"\x7f", b"\xc2\x85",
]
for file in names:
    with open(b"out/" + file, "wb") as out:
        out.write(b"content")
os.makedirs(b"out/fold\ner/\x01")
with open(b"out/fold\ner/\x01/inner", "wb") as out:
    out.write(b"content")
verdict()
