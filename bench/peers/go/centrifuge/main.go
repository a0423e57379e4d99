// A server on the centrifuge library, the engine of Centrifugo: JSON over WebSocket, members subscribed by the server to
// their room as they connect, `send` publishes to it, or to the room that its first word names after an `@`, `rpc` echoes.
// Its pings are off, since a run is shorter than their pause, unless BENCH_HEARTBEAT says after how many seconds they come.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/centrifugal/centrifuge"

	"wsc-bench-peers/serve"
)

type roomKey struct{}

func main() {
	fmt.Println(serve.Version("github.com/centrifugal/centrifuge"))
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelError, LogHandler: func(entry centrifuge.LogEntry) {
		fmt.Println(entry.Message, entry.Fields)
	}})
	if err != nil {
		panic(err)
	}
	node.OnConnecting(func(ctx context.Context, event centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		room := ctx.Value(roomKey{}).(string)
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{UserID: event.ClientID},
			Subscriptions: map[string]centrifuge.SubscribeOptions{room: {}},
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		own := client.Context().Value(roomKey{}).(string)
		client.OnMessage(func(event centrifuge.MessageEvent) {
			room := own
			if other, found := bytes.CutPrefix(event.Data, []byte(`"@`)); found {
				other, _, _ = bytes.Cut(other, []byte(" "))
				room = string(other)
			}
			if _, err := node.Publish(room, event.Data); err != nil {
				fmt.Println(err)
			}
		})
		client.OnRPC(func(event centrifuge.RPCEvent, done centrifuge.RPCCallback) {
			done(centrifuge.RPCReply{Data: event.Data}, nil)
		})
	})
	if address := os.Getenv("BENCH_REDIS"); address != "" {
		connect(node, address)
	}
	if err := node.Run(); err != nil {
		panic(err)
	}
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		Compression:    serve.Deflate(),
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: heartbeat()},
	})
	http.HandleFunc("/connection/websocket", func(w http.ResponseWriter, r *http.Request) {
		if !serve.MayEnter(r) {
			http.Error(w, "a token is wanted", http.StatusUnauthorized)
			return
		}
		ctx := context.WithValue(r.Context(), roomKey{}, r.URL.Query().Get("room"))
		handler.ServeHTTP(w, r.WithContext(ctx))
	})
	panic(serve.Listen())
}

func heartbeat() time.Duration {
	seconds, err := strconv.Atoi(os.Getenv("BENCH_HEARTBEAT"))
	if err != nil {
		return -1
	}
	return time.Duration(seconds) * time.Second
}

// Messages go to other nodes through Redis.
func connect(node *centrifuge.Node, address string) {
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: address})
	if err != nil {
		panic(err)
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		panic(err)
	}
	node.SetBroker(broker)
}
