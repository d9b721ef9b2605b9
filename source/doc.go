// Package source is how events get in: they are checked as far as they must be before the
// answer, made durable in events.raw, and answered with a token. Sub-packages are adapters of
// systems that events come from.
package source
