// Package fanout asks the processes of a log that several share, each of which holds some partitions, and makes one answer of
// theirs.
//
// Every partition is asked of one process: of few, those that hold the most, and among copies the least busy. An entity is in one partition, so no
// answer has it twice. A process that can't be reached is replaced at once, by others that hold its partitions; one that is silent
// after [HedgeAfter] too, while it may still answer, and the first answer counts. Who is silent is asked whether it is there, and
// left out until it says so. When nobody answers for a partition, that is an error which names it, or part of the answer where
// the caller wants what there is.
package fanout
