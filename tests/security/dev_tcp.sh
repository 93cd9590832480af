# Connects by Bash's own /dev/tcp and /dev/udp.
# attacks: the network namespace from a shell without tools
# expect-status: ok
# expect-stdout: HELD
# control: breach
for address in 127.0.0.1 localhost "$HOST_ADDRESS"; do
  if (exec 3<> "/dev/tcp/$address/$CANARY_PORT") 2> /dev/null; then breach "connected to $address"; fi
done
if (exec 3<> /dev/tcp/192.0.2.1/80) 2> /dev/null; then breach "left the machine"; fi
if (exec 3> /dev/udp/192.0.2.1/53 && echo x >&3) 2> /dev/null; then breach "datagram left the machine"; fi
verdict
