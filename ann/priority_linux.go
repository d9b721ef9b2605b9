package ann

import (
	"runtime"
	"syscall"
)

// backgroundNice is the nice value of threads that link in the background.
const backgroundNice = 10

// lowerPriority gives the calling goroutine a thread of its own that runs when nothing else wants the processor. The
// thread ends with the goroutine, since its priority can't be raised again. Where the system refuses, work goes on as it
// would without.
func lowerPriority() {
	runtime.LockOSThread()
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), backgroundNice)
}
