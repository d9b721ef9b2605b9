//go:build !amd64

package pq

func assembly(string, *scanArgs) bool { return false }

func tableSums(string, *tableArgs) bool { return false }
func tableBytes(*tableArgs)             {}
