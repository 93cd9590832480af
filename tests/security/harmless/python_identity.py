# Accounts, host name, time zone, locale, terminal size: what libraries ask at the start.
# expect-status: ok
# expect-stdout: fine
import getpass
import grp
import locale
import os
import platform
import pwd
import shutil
import socket
import time

assert pwd.getpwuid(os.getuid()).pw_dir and grp.getgrgid(os.getgid()).gr_name and getpass.getuser()
assert os.path.expanduser("~") != "~" and os.access(os.path.expanduser("~"), os.W_OK)
assert socket.gethostname() and platform.platform() and os.cpu_count() and os.sched_getaffinity(0)
assert locale.getpreferredencoding().lower().replace("-", "") == "utf8"
assert shutil.get_terminal_size() and time.localtime() and shutil.disk_usage("/tmp").total > 0
assert socket.getaddrinfo("localhost", 80)
print("fine")
