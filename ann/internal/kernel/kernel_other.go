//go:build !amd64 && !arm64

package kernel

func assembly() []*Set { return nil }
