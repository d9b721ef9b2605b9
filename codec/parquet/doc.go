// Package parquet reads and writes Parquet files: rows as JSON objects, in the memory of a few pages of each column, and rows of a Go
// type. It is the one place that knows the library.
package parquet
