# TCP, UDP and Unix sockets between its own threads, and a web server with its client.
# expect-status: ok
# expect-stdout: stream datagram unix 200
import http.server
import socket
import threading
import urllib.request

server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
accepted.sendall(b"stream")
stream = client.recv(16).decode()
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"datagram", receiver.getsockname())
datagram = receiver.recv(16).decode()
unix = socket.socket(socket.AF_UNIX)
unix.bind("/tmp/unix.sock")
unix.listen()
left = socket.socket(socket.AF_UNIX)
left.connect("/tmp/unix.sock")
right, _ = unix.accept()
left.sendall(b"unix")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
threading.Thread(target=web.serve_forever, daemon=True).start()
status = urllib.request.urlopen(f"http://127.0.0.1:{web.server_port}/").status
web.shutdown()
print(stream, datagram, right.recv(16).decode(), status)
