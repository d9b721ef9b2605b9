package e2e_test

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes a process end when the test's process does, however that ends.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
