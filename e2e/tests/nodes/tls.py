"""Takes TLS off what it hands on: from port 8443, with the certificate in /tls, to port 8080 of its pod."""

import asyncio
import ssl


async def serve(reader, writer):
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", 8080)
    await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))


async def pump(reader, writer):
    try:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass  # One side left; the other is told by what follows.
    finally:
        writer.close()


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("/tls/certificate.pem", "/tls/key.pem")
    server = await asyncio.start_server(serve, "", 8443, ssl=context)
    await server.serve_forever()


asyncio.run(main())
