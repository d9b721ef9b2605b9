// Package process turns raw records into decided changes: it maps each record to drafts,
// recognises repeats, folds the drafts of an entity into its new state, has content embedded,
// and commits all of a batch, with the positions it came from, as one transaction.
//
// It does not accept events (source), make vectors (embed) or search (store).
//
// # How a batch goes
//
// Mapping runs on all cores. Then one goroutine, the sequencer, goes through the drafts in
// order of the log: it is the only one that decides versions, so "if version > stored
// version" needs no lock. It knows each entity's latest state from vector.sync and from the
// batch so far. Every draft is counted; only the last state of an entity in the batch is
// embedded and committed. Content that is the same as what the stored points were made of is
// not embedded again.
//
// A draft that can't be embedded becomes a dead letter alone: the batch is sequenced again
// without it, so the drafts before it have their effect. Sequencing is a function of the
// stored state and the records; after a crash it gives the same bytes.
package process
