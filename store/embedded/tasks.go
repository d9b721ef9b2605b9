package embedded

import "sync"

// tasks are goroutines of which the first error counts. The zero value is ready for use.
type tasks struct {
	limit   chan struct{} // nil: no limit
	running sync.WaitGroup
	once    sync.Once
	err     error
	failed  func() // called with the first error, if not nil
}

// start runs f in a goroutine, once there are fewer than the limit.
func (t *tasks) start(f func() error) {
	if t.limit != nil {
		t.limit <- struct{}{}
	}
	t.running.Go(func() {
		if t.limit != nil {
			defer func() { <-t.limit }()
		}
		if err := f(); err != nil {
			t.once.Do(func() {
				t.err = err
				if t.failed != nil {
					t.failed()
				}
			})
		}
	})
}

// wait blocks until all have ended.
func (t *tasks) wait() error {
	t.running.Wait()
	return t.err
}
