//go:build (darwin || freebsd || netbsd || openbsd) && !race

package ann

const mapFlags = 0

func adviseLarge([]byte) {}
