// Package embedded is the log of one machine, inside the process: the raw topic is a journal
// of segment files (package journal), every other topic and all positions share one Pebble,
// where a transaction over several topics is one batch.
//
// # Promises
//
// An append to events.raw is durable when it returns. A transaction is all or nothing, and
// readers see only what is committed. It is not synced: whatever it holds was derived from
// raw records whose position stands in the same batch, so after a crash both fall back
// together and are derived again, to the same bytes. [Log.Sync] makes everything committed
// durable; it is called before anything outside relies on derived data (a snapshot), and
// control records are always synced.
//
// All offsets of events.raw come from one sequence, whatever the partition, so one reader sees
// every entity's events in order and nothing has to be forwarded to a sequencer.
//
// A data folder belongs to one process at a time, by a lock file.
//
// # Layout of a data folder
//
//	FORMAT     JSON: format number and the log's identity; written once
//	LOCK       held while open
//	journal/   segments of events.raw
//	state/     Pebble
//	index/     snapshots of the store, its own business
//
// # Keys in Pebble
//
// All topics but the raw one are compacted by key. The first byte of a Pebble key names the
// topic or table, the second what it is:
//
//	topic 'k' key      → 8 bytes offset, record value     the latest record of each key
//	topic 's' offset   → key                              the same in order of offset
//	0x01  'p' group 0x00 topic 0x00 partition → offset    the next offset of a group
//	0x01  'c'          → offset                           end of the journal at the last clean stop
//	table 't' key      → value                            state tables of processing
package embedded
