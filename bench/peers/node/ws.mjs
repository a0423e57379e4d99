// A server on npm's ws, which speaks the plain dialect.
import {createRequire} from "node:module";
import {WebSocketServer} from "ws";

const {version} = createRequire(import.meta.url)("ws/package.json");
console.log(`ws ${version}, node ${process.version}`);

const rooms = new Map();
const server = new WebSocketServer({host: "127.0.0.1", port: Number(process.argv[2]), path: "/ws", backlog: 4096});
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
