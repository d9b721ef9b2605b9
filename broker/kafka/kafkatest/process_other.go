//go:build !linux

package kafkatest

import "syscall"

// dieWithParent can't be had here: a server outlives a test process that panics or is killed.
func dieWithParent() *syscall.SysProcAttr { return nil }
