// Package version tells which version of a module a program was built with.
package version

import (
	"runtime"
	"runtime/debug"
)

// Of is the module's path and version, and Go's.
func Of(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == path {
			return path + " " + module.Version + ", " + runtime.Version()
		}
	}
	return path + ", " + runtime.Version()
}
