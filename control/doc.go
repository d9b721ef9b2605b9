// Package control is freshet.control: the collections of a log and the revision in force,
// recorded in the log itself, in one order, durable before their effect can be seen.
//
// Records are JSON with a format number, keyed by what they speak of:
//
//	revision           → {"format":1,"number":1,"mapping":…,"splitter":…}
//	collection/NAME    → {"format":1,"name":…,"model":…,"dim":…,"metric":…,"order":…,"origin":…,"since":…}
//
//	index/"C"/"NS"     → {"format":1,"index":{"collection":…,"namespace":…,"index":{…}}}
//	epoch              → {"format":1,"epochs":[{"epoch":1,"log":…,"since":0,"changes":0,"at":…,"reason":"created"},…]}
//	log                → {"format":1,"id":…,"partitions":…,"topics":{…}} of a log that several nodes share, who read it before all else
//	node/ID            → {"format":1,"node":{"id":…,"address":…,"roles":[…],"partitions":…,"copied":…,"started_at":…}} of a process of such a log;
//	                     removed when it leaves
//
// On Kafka all nodes write: each of them decides on the newest state (see [Log]), and takes in what the others write.
//
// Generations and switches get records of their own in the same topic.
package control
