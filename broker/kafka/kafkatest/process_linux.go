package kafkatest

import "syscall"

// dieWithParent has the kernel kill a server whose test process is gone, however that ended.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
