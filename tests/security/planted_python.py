# Files placed beside the program that Python would run before it by itself.
# attacks: sitecustomize, usercustomize, pyvenv.cfg, .pth and user site packages among the input files
# file: sitecustomize.py "import os; os.write(1, b'BREACH sitecustomize ran\\n')"
# file: usercustomize.py "import os; os.write(1, b'BREACH usercustomize ran\\n')"
# file: encodings/__init__.py "import os; os.write(1, b'BREACH encodings ran\\n')"
# file: .pythonrc.py "import os; os.write(1, b'BREACH pythonrc ran\\n')"
# file: .local/lib/python3.11/site-packages/x.pth "import os; os.write(1, b'BREACH pth ran\\n')"
# file: .local/lib/python3.11/site-packages/usercustomize.py "import os; os.write(1, b'BREACH user site ran\\n')"
# file: pyvenv.cfg "home = /box\ninclude-system-site-packages = true\n"
# file: python311._pth "/box\nimport site\n"
# expect-status: ok
# expect-stdout: HELD
if sys.flags.no_user_site == 0 and not sys.flags.isolated:
    breach("user site packages are on")
verdict()
