// Package sim proves, seed by seed, that nothing acknowledged is lost and nothing is counted
// twice, whatever the moment at which the power fails. A seed is the life of one data folder:
// a whole node (package node) runs on a file system in memory, clients write, search and take
// snapshots, the power is cut before some operation of the file system, and a new node opens
// what the disk held at that moment: all that was synced, and of the rest a random part. Or
// the process alone is killed, and the next one finds what was not synced in the page cache.
// That goes on for several lives. Clients send again what they get no answer to; requests and answers are lost, doubled and late. Now and then a life begins with the last backup, restored into an empty folder: what was
// accepted after it is gone for good then.
//
// The reference is a model that knows what was submitted and what was acknowledged. It reads
// events.raw back, where what was acknowledged must stand at its offset and no batch may be
// there in part, and folds it by the rules of the documentation, in code that shares nothing
// with package process. What the node then answers has to be exactly that.
//
// # Repeating a seed
//
//	FRESHET_SIM_SEED=123 go test ./sim -run TestCrash -count=100
//
// A seed fixes the configuration, what clients do, and before which operation the power
// fails. The interleaving of goroutines is the machine's, so a failure may need more than one
// run; with -race the interleavings are others.
//
// FRESHET_SIM_SEEDS=200 runs so many seeds from a random one on, until one fails; make sim does so for hours.
//
// That the simulation finds what it is for is tested twice: without any one of our own syncs it must fail
// (syncs_test.go), and so it must with any of some bugs that are planted in the source (mutants_test.go).
//
// # Files
//
//	sim.go       a seed: configuration, lives, how they end
//	crash.go     the end of a process: the power is cut, or it is killed
//	memory.go    its file system, file.go its files
//	clock.go     its time
//	event.go     random events, and what each of them means
//	client.go    writers: they send batches and look what became of them
//	network.go   requests and answers are lost, late or doubled
//	operator.go  searches, snapshots, pauses, audits at random; old events are let go
//	drop.go      namespaces and collections are emptied
//	restore.go   backups, and histories that go back to them
//	letters.go   dead letters are replayed and dropped
//	model.go     what was submitted, what was promised
//	fold.go      what events.raw means
//	command.go   what the node has written into it
//	check.go     a node against the model: log, start, catalog
//	answers.go   a node against the model: entities, dead letters, searches, tokens
//
// It does not test I/O errors (package broker/journal does), nor a real disk (e2e does).
package sim
