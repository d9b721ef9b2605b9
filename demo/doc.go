// Package demo is a small shop that never closes: a made-up catalogue whose prices and stock
// change, and customers whose interests drift as they click. It sends what happens to a
// freshet server through the public HTTP API, as any producer would, and measures how long a
// change takes until a search sees it.
//
// It carries its input in code, reads no clock and no file to make it, and gives the same
// events for the same seed. It measures for a person who looks on; package bench has the
// measurements that are compared.
package demo
