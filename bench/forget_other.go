//go:build !linux

package bench

import "os"

// forgetPages does nothing here: cold starts are as warm as others.
func forgetPages(*os.File) error { return nil }
