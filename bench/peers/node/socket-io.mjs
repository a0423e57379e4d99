// A server on socket.io: `p` publishes to the room as `m`, `e` echoes.
import {createRequire} from "node:module";
import {Server} from "socket.io";

const {version} = createRequire(import.meta.url)("socket.io/package.json");
console.log(`socket.io ${version}, node ${process.version}`);

const io = new Server(Number(process.argv[2]), {transports: ["websocket"], serveClient: false});
io.on("connection", (socket) => {
  const {room} = socket.request._query;
  socket.join(room);
  socket.on("p", (body) => io.to(room).emit("m", body));
  socket.on("e", (body) => socket.emit("m", body));
  socket.emit("ready");
});
