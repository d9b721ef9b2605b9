//go:build !linux

package ann

// lowerPriority does nothing where threads have no priority of their own.
func lowerPriority() {}
