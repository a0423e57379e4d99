// A server on gorilla/websocket as its chat example has it: a goroutine that reads and one that writes for each
// connection, a channel between them, and messages prepared once. Speaks the plain dialect.
package main

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"

	"wsc-bench-peers/serve"
)

var (
	mutex sync.RWMutex
	rooms = map[string][]chan *websocket.PreparedMessage{}
)

func main() {
	fmt.Println(serve.Version("github.com/gorilla/websocket"))
	upgrader := websocket.Upgrader{EnableCompression: serve.Deflate()}
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		if !serve.MayEnter(r) {
			http.Error(w, "a token is wanted", http.StatusUnauthorized)
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		hold(conn, r.URL.Query().Get("room"))
	})
	panic(serve.Listen())
}

func hold(conn *websocket.Conn, room string) {
	defer conn.Close()
	outbox := make(chan *websocket.PreparedMessage, 256)
	go func() {
		for message := range outbox {
			if conn.WritePreparedMessage(message) != nil {
				conn.Close()
			}
		}
	}()
	mutex.Lock()
	rooms[room] = append(rooms[room], outbox)
	mutex.Unlock()
	outbox <- prepared([]byte("ready"))
	for {
		_, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		out := prepared(message[1:])
		if message[0] == 'E' {
			outbox <- out
			continue
		}
		mutex.RLock()
		members := rooms[room]
		mutex.RUnlock()
		for _, member := range members {
			select {
			case member <- out:
			default: // A reader that does not keep up goes without.
			}
		}
	}
}

func prepared(message []byte) *websocket.PreparedMessage {
	prepared, err := websocket.NewPreparedMessage(websocket.TextMessage, message)
	if err != nil {
		panic(err)
	}
	return prepared
}
