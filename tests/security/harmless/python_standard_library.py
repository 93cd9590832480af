# Imports the whole standard library: whatever a module asks of the system at import must be answered.
# expect-status: ok
# expect-stdout: all imported
# timeout: 30
# limits: {"memory_mb": 512, "cpu_seconds": 30}
import importlib
import sys

# These open a browser or a window, or print at import.
skipped = {"antigravity", "this", "idlelib", "tkinter", "turtle", "turtledemo", "lib2to3", "distutils", "ensurepip", "venv"}
foreign = {"nt", "ntpath", "winreg", "winsound", "msvcrt", "msilib", "nturl2path", "ossaudiodev", "_tkinter"}
failed = {}
for module in sorted(sys.stdlib_module_names - skipped - foreign):
    if module.startswith("_"):
        continue
    try:
        importlib.import_module(module)
    except ImportError as error:
        # Debian packs some modules apart; anything but a missing module is the cell's doing.
        if not isinstance(error, ModuleNotFoundError):
            failed[module] = str(error)
    except OSError as error:
        failed[module] = str(error)
print("all imported" if not failed else failed)
