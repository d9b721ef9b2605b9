// Package kafka is the log in a Kafka cluster, by franz-go, which stays behind this package.
//
// # Topics
//
// All topics have the same number of partitions but freshet.control, which has one. The names
// are configuration; these are the defaults:
//
//	events.raw       delete   what producers write, by any partitioner
//	events.keyed     delete   events forwarded to the partition that [wire.Partition] names
//	vector.sync      compact  the latest change of every entity
//	vector.sync.dlq  compact  dead letters
//	freshet.state    compact  what the sequencer of partition p remembers, in partition p
//	freshet.control  compact  what everybody has to know, in one order
//
// [Client.Ensure] makes what is missing and refuses what has settings that would lose data later.
//
// [Client.Identity] tells the log from all others. What all nodes have to agree on they write to freshet.control, one after the
// other and each on the newest state: [Control].
//
// # Promises
//
// An append is durable on min.insync.replicas brokers when it returns; an idempotent producer keeps
// what it retries in order and single. Readers see only what is committed, per partition in order.
// Topics are told apart by their ids, so that one that was deleted and made again is not taken
// for the old one.
//
// [wire.Partition]: https://pkg.go.dev/github.com/freshet-io/freshet/wire#Partition
package kafka
