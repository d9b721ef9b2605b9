// Package annbench measures package ann beside other vector indexes: what `freshet bench ann` and its sub-commands run.
//
// All engines run on the same vectors, one thread, pinned to the same processor, in rounds that take turns, so that a
// noisy machine disturbs all alike. Builds and searches are timed by the processor time of the whole process, garbage
// collection and background threads included; p99 is wall time. Recall counts ties: an id is right when its vector is as
// near as the k-th true neighbour, by distances computed here.
//
// The package draws curves and computes ratios; it does not judge them. Peers need the virtual environment of package
// bench/peers.
package annbench
