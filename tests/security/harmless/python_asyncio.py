# An event loop with timers, child processes, threads and a server on its own loopback.
# expect-status: ok
# expect-stdout: pong 0 in a thread
import asyncio


async def serve(reader, writer):
    await reader.readline()
    writer.write(b"pong\n")
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"ping\n")
    answer = (await reader.readline()).decode().strip()
    writer.close()
    child = await asyncio.create_subprocess_exec("true")
    await asyncio.wait_for(asyncio.sleep(0.01), 1)
    print(answer, await child.wait(), await asyncio.to_thread(lambda: "in a thread"))


asyncio.run(main())
