// Package runbook replays streams of inserts, deletes and replacements against a vector index and scores every search
// against the exact answer of that moment: what `freshet bench runbook` runs.
//
// The format is that of the streaming track of NeurIPS'23 (big-ann-benchmarks): a YAML file with numbered steps over
// ranges of rows. Parse reads it, Generate makes runbooks, Run replays them. The truth is kept up to date change by
// change, in double precision and by code that shares nothing with the indexes; it is computed anew for each search step:
// the table of the original competition had a truth that was computed once and served for all.
//
// Recall at a step is the share of the k nearest live vectors that the engine returns, an id counting when its vector is
// as near as the k-th. Ids that are not live, repeated ids and short answers are counted, and lower the recall.
package runbook
