# Connects to a service of the host on every address it may have, by stream and by datagram.
# attacks: the network namespace: the engine itself listens on the host's loopback
# expect-status: ok
# expect-stdout: HELD
# control: breach
import socket

port = int(HOST["CANARY_PORT"])
for address in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", HOST["HOST_ADDRESS"]):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(2)
        try:
            stream.connect((address, port))
            breach(f"connected to {address}:{port}")
        except OSError as error:
            # From elsewhere than the own loopback a refusal is an answer: the address is routed.
            if error.errno == errno.ECONNREFUSED and address == HOST["HOST_ADDRESS"] and not address.startswith("127."):
                breach(f"{address} is routed")
            print("refused", address, error)
open_ports = []
for other in (22, 80, 443, 2024, 3000, 5432, 6379, 7687, 8080, 8484, 9229, int(HOST["ENGINE_PORT"])):
    with socket.socket() as stream:
        stream.settimeout(1)
        if stream.connect_ex(("127.0.0.1", other)) == 0:
            open_ports.append(other)
if open_ports:
    breach(f"ports answer: {open_ports}")
verdict()
