// Package wire is the bytes of freshet's formats: keys, versions, tokens, changes and dead
// letters, on disk and on the wire. docs/FORMATS.md draws them.
//
// Every format begins with a format number; a decoder refuses one that it does not know and
// never panics on bytes of any kind. Integers inside keys are big-endian so that bytes sort
// as values do; elsewhere they are little-endian or varints.
package wire
