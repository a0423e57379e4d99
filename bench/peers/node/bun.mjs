// A server on Bun, whose WebSockets and topics are those of uWebSockets. Speaks the plain dialect.
console.log(`bun ${Bun.version}`);

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    const room = new URL(request.url).searchParams.get("room");
    return server.upgrade(request, {data: {room}}) ? undefined : new Response("a WebSocket is wanted", {status: 400});
  },
  websocket: {
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
      socket.publish(socket.data.room, message.slice(1));
      socket.send(message.slice(1));
    },
  },
});
