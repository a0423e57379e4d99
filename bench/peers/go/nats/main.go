// nats-server as it is, with the configuration that its documentation shows for WebSockets: what its own main does, less
// the reading of arguments. Members publish and subscribe subjects, nobody is asked who they are, JetStream is off. By TLS
// if BENCH_TLS names a folder with a certificate, compressed if BENCH_DEFLATE is set; BENCH_NODES are the ports of all
// nodes of a cluster, this one's among them.
//
// A module of its own, so that its dependencies raise no version of another peer's.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	fmt.Printf("github.com/nats-io/nats-server/v2 v%s, %s\n", server.VERSION, runtime.Version())
	port, err := strconv.Atoi(os.Args[1])
	check(err)
	options := &server.Options{}
	check(options.ProcessConfigString(configuration(port)))
	s, err := server.NewServer(options)
	check(err)
	s.ConfigureLogger()
	check(server.Run(s))
	s.WaitForShutdown()
}

// The node's own listeners are on the ports after that of its WebSockets: clients on the first, other nodes on the second.
func configuration(port int) string {
	encryption, compression := "no_tls: true", "compression: false"
	if dir := os.Getenv("BENCH_TLS"); dir != "" {
		encryption = fmt.Sprintf("tls { cert_file: %q, key_file: %q }", dir+"/tls.crt", dir+"/tls.key")
	}
	if os.Getenv("BENCH_DEFLATE") != "" {
		compression = "compression: true"
	}
	return fmt.Sprintf(`
		server_name: "bench-%d"
		listen: "127.0.0.1:%d"
		websocket {
			listen: "127.0.0.1:%d"
			%s
			%s
		}
		%s
	`, port, port+1, port, encryption, compression, cluster(port))
}

func cluster(port int) string {
	nodes := os.Getenv("BENCH_NODES")
	if nodes == "" {
		return ""
	}
	var routes []string
	for _, node := range strings.Split(nodes, ",") {
		other, err := strconv.Atoi(node)
		check(err)
		routes = append(routes, fmt.Sprintf("%q", fmt.Sprintf("nats://127.0.0.1:%d", other+2)))
	}
	return fmt.Sprintf(`cluster { name: "bench", listen: "127.0.0.1:%d", routes: [%s] }`, port+2, strings.Join(routes, ", "))
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
