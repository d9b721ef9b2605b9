// Package control is freshet.control: the collections of a log and the revision in force,
// recorded in the log itself, in one order, durable before their effect can be seen.
//
// Records are JSON with a format number, keyed by what they speak of:
//
//	revision           → {"format":1,"number":1,"mapping":…,"splitter":…}
//	collection/NAME    → {"format":1,"name":…,"model":…,"dim":…,"metric":…,"order":…,"origin":…,"since":…}
//
//	epoch              → {"format":1,"epochs":[{"epoch":1,"log":…,"since":0,"changes":0,"at":…,"reason":"created"},…]}
//
// Generations and switches get records of their own in the same topic.
package control
