// Package vsync brings committed changes to the store: in batches, fenced by version,
// repeated until they are in, and then says how far the log is decided.
package vsync
