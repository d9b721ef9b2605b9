// Package embedded is the store inside the process. Its table of entities is vector.sync
// itself, as the embedded log keeps it; what it adds is in memory: per shard (one namespace
// of one collection) a vector index, a filter index, and a table that numbers the entities.
// Snapshots of all three make the next start a matter of reading.
//
// # Order of things
//
// A change is committed to vector.sync before it is applied here. So the table is never
// behind the indexes, and a hit whose version is not the table's is scored anew from its
// record: an answer never mixes the score of one version with the metadata of another.
//
// Apply numbers the entities that are new, changes the vector index, then the filter index and
// the table of documents. An error in between leaves versions as they were, so the same
// changes are applied again. A search may meet a batch half-way; shard.find says how it finds
// that out.
//
// A snapshot holds the documents of one moment and the indexes of later ones. What changed
// in between has a newer offset in vector.sync, and is applied again at the next start.
//
// # Documents
//
// A document is the number of an entity within its shard, given at its first change and
// kept for the life of the process, tombstones included: they fence late changes. The key of
// a point in the vector index is document << 12 | place of the point. Hits name a point by its
// place: slots with names of their own are not told apart from that yet.
package embedded
