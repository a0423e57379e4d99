// A server on Bun, whose WebSockets and topics are those of uWebSockets. Speaks the plain dialect; by TLS
// if BENCH_TLS names a folder with a certificate, compressed if BENCH_DEFLATE is set. BENCH_HEARTBEAT is after how many
// seconds of quiet it pings: uWebSockets does so four seconds before a short `idleTimeout` is over. BENCH_JWT_KEY is what
// tokens are signed with, where it asks for some.
import {mayEnter} from "./token.mjs";

console.log(`bun ${Bun.version}`);

const {BENCH_TLS: tls, BENCH_DEFLATE: deflate, BENCH_HEARTBEAT: heartbeat} = process.env;

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  tls: tls ? {cert: Bun.file(`${tls}/tls.crt`), key: Bun.file(`${tls}/tls.key`)} : undefined,
  fetch(request, server) {
    if (!mayEnter(request.headers.get("authorization"))) return new Response("a token is wanted", {status: 401});
    const room = new URL(request.url).searchParams.get("room");
    return server.upgrade(request, {data: {room}}) ? undefined : new Response("a WebSocket is wanted", {status: 400});
  },
  websocket: {
    perMessageDeflate: Boolean(deflate),
    ...(heartbeat ? {idleTimeout: Number(heartbeat) + 4, sendPings: true} : {}),
    open(socket) {
      socket.subscribe(socket.data.room);
      socket.send("ready");
    },
    message(socket, message) {
      if (message.charCodeAt(0) === 69) {
        socket.send(message.slice(1));
        return;
      }
      // `publish` leaves its own socket out.
      socket.publish(socket.data.room, message.slice(1), Boolean(deflate));
      socket.send(message.slice(1), Boolean(deflate));
    },
  },
});
