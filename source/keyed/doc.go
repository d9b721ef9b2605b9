// Package keyed is how events get into events.keyed, the sequenced log in Kafka: each change into the partition of its entity.
//
// There are two ways. [Log] takes what the HTTP API and the other sources of this process accept. A [Router] forwards what
// foreign producers write to a partition of events.raw, by whatever partitioner.
//
// # Once and in order
//
// A router is at least once: its position is committed behind what was acknowledged. Each forward says where it comes from, as (offset,
// change) in its source partition, and the owner of a partition of events.keyed takes a forward only if its place is above the last that it took of
// the same source. That makes it exactly once and in order, if what one router appends to a partition has no holes: a forward is in the log
// only behind all those of lower places that the router has sent there. So a batch is sent when the one before is
// acknowledged; what fails takes with it all that is behind it in the same partition (kafka.Forwarder); and after any error the producer is given up.
//
// Then the order in which several routers of one source interleave (one that hangs, its successor) does not matter. Each begins at or
// below what is acknowledged, so by the time a forward with the place x stands in the log, all places below x that belong there
// stand before it: sent by the same router, or acknowledged before that one began.
//
// That holds as long as a record gives the same whenever it is read. One in a schema of a registry may not: unknown today, it is a dead letter, and
// known tomorrow it is so many changes, in other partitions. So where there is a registry the owner of the partition forwards
// (kafka.Partition.Route): what a record gives, and that it was forwarded, is one transaction, which costs the time of one.
package keyed
