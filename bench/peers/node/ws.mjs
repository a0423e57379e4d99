// A server on npm's ws, which speaks the plain dialect; by TLS if BENCH_TLS names a folder with a certificate, compressed
// if BENCH_DEFLATE is set. BENCH_JWT_KEY is what tokens are signed with, where it asks for some.
import {readFileSync} from "node:fs";
import http from "node:http";
import https from "node:https";
import {createRequire} from "node:module";
import {WebSocketServer} from "ws";
import {mayEnter} from "./token.mjs";

const {version} = createRequire(import.meta.url)("ws/package.json");
console.log(`ws ${version}, node ${process.version}`);

const {BENCH_TLS: tls, BENCH_DEFLATE: deflate} = process.env;
const listener = tls
  ? https.createServer({cert: readFileSync(`${tls}/tls.crt`), key: readFileSync(`${tls}/tls.key`)})
  : http.createServer();
listener.listen({host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096});

const rooms = new Map();
const server = new WebSocketServer({
  server: listener,
  path: "/ws",
  perMessageDeflate: Boolean(deflate),
  verifyClient: ({req}) => mayEnter(req.headers.authorization),
});
server.on("connection", (socket, request) => {
  const name = new URL(request.url, "http://bench").searchParams.get("room");
  const room = rooms.get(name) ?? [];
  rooms.set(name, room);
  room.push(socket);
  socket.on("message", (message) => {
    const body = message.subarray(1);
    if (message[0] === 69) socket.send(body, {binary: false});
    else for (const member of room) member.send(body, {binary: false});
  });
  socket.send("ready");
});
