# Connects to sockets of the host by path, also through the links of /proc.
# attacks: the private root: sockets are files
# expect-status: ok
# expect-stdout: HELD
# control: breach
import socket

for path in (HOST["CANARY_SOCKET"], "/proc/1/root" + HOST["CANARY_SOCKET"], "/run/docker.sock", "/var/run/docker.sock",
             "/run/systemd/private", "/run/dbus/system_bus_socket", "/dev/log", "/run/containerd/containerd.sock"):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix:
        try:
            unix.connect(path)
            breach(f"connected to {path}")
        except OSError as error:
            print("refused", path, error)
verdict()
