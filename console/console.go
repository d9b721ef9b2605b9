// Package console is the page at /: one hand-written HTML file, embedded in the binary.
package console

import _ "embed"

// Page is the page.
//
//go:embed index.html
var Page []byte
