// Package codec reads the bytes that producers send: JSON values, strictly checked in one
// pass, the events of the default mapping, CloudEvents, and streams of newline-delimited JSON
// and of comma-separated values.
//
// Strict means: RFC 8259 and nothing more, valid UTF-8 everywhere, no lone surrogate escapes,
// and a nesting limit. What passes can be stored and given back byte for byte.
//
// It has a scanner of its own because every event passes through it before it is
// acknowledged: it validates and finds the top-level fields in the same pass, without
// allocating.
package codec
