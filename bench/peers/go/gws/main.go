// A server on lxzan/gws with its own broadcaster. Speaks the plain dialect.
package main

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"

	"github.com/lxzan/gws"

	"wsc-bench-peers/serve"
)

var (
	mutex sync.RWMutex
	rooms = map[string][]*gws.Conn{}
)

type handler struct{ gws.BuiltinEventHandler }

func (handler) OnMessage(conn *gws.Conn, message *gws.Message) {
	defer message.Close()
	body := bytes.Clone(message.Bytes())
	if body[0] == 'E' {
		_ = conn.WriteMessage(gws.OpcodeText, body[1:])
		return
	}
	room, _ := conn.Session().Load("room")
	mutex.RLock()
	members := rooms[room.(string)]
	mutex.RUnlock()
	broadcaster := gws.NewBroadcaster(gws.OpcodeText, body[1:])
	defer broadcaster.Close()
	for _, member := range members {
		_ = broadcaster.Broadcast(member)
	}
}

func main() {
	fmt.Println(serve.Version("github.com/lxzan/gws"))
	upgrader := gws.NewUpgrader(handler{}, &gws.ServerOption{
		PermessageDeflate: gws.PermessageDeflate{Enabled: serve.Deflate()},
	})
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		room := r.URL.Query().Get("room")
		conn.Session().Store("room", room)
		mutex.Lock()
		rooms[room] = append(rooms[room], conn)
		mutex.Unlock()
		_ = conn.WriteString("ready")
		go conn.ReadLoop()
	})
	panic(serve.Listen())
}
