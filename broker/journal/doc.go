// Package journal is the log of raw records of one machine: segment files that all
// partitions share, appended to by group commit and read in order of offset.
//
// An append is acknowledged when its bytes are on disk. Offsets come from one sequence over
// all partitions; a partition is a field of the record. There is one frame in flight at a
// time, so a crash can tear only the last frame of the last segment, and that one was never
// acknowledged.
//
// It knows nothing of events, of positions of readers, or of retention.
//
// # Format
//
// A segment is named by the offset of its first record, 20 decimal digits, ".seg". It is a
// run of frames, one per group commit; all integers are little-endian.
//
//	 0  4  magic "FRJ1"
//	 4  4  length of the body in bytes
//	 8  4  CRC-32C of bytes 12 to the end of the body
//	12  1  format number, 1
//	13  1  flags, 0
//	14  2  0
//	16  4  id of the encryption key of the body, 0 = not encrypted
//	20  4  number of records
//	24  8  offset of the first record; the others follow without gaps
//	32  8  time of the append, ms since 1970
//	40  …  body: the records one after another
//
//	record: uvarint partition
//	        uvarint n, n bytes key
//	        uvarint n, n bytes value
//	        uvarint number of headers, each: uvarint n, n bytes name, uvarint n, n bytes value
//
// The frames of a segment reach at least up to the first offset of the next segment. What
// stands behind that point was never acknowledged (a torn frame, or one whose write or sync
// failed) and is ignored.
//
// In the last segment a frame that is cut off, or whose checksum is wrong, ends the log if no
// whole frame follows it. If one does, or if a frame is whole but of another format, of unknown
// flags or out of order, that is no torn write, and opening fails. Zeros at the end are a clean
// end. A whole last frame counts even if nobody was told: opening syncs it before anything can
// be read or appended, as it may so far be in the page cache only.
package journal
