// Package serve is what the Go peers share: where they listen, and which version of a module they are built with.
package serve

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
)

// Listen serves on the port of the first argument, by TLS if BENCH_TLS names a folder with a certificate.
func Listen() error {
	address := "127.0.0.1:" + os.Args[1]
	if dir := os.Getenv("BENCH_TLS"); dir != "" {
		return http.ListenAndServeTLS(address, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), nil)
	}
	return http.ListenAndServe(address, nil)
}

// Deflate is whether clients that offer compression get it.
func Deflate() bool { return os.Getenv("BENCH_DEFLATE") != "" }

// Version is the module's path and version, and Go's.
func Version(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == path {
			return path + " " + module.Version + ", " + runtime.Version()
		}
	}
	return path + ", " + runtime.Version()
}
