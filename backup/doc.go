// Package backup is the format of a backup: a picture of a data folder as one stream, or as a folder of files, in which
// every byte is covered by a checksum. It writes and reads that; what belongs into the picture, and what a restored
// folder needs before it is opened, package node knows.
//
// # Format
//
// A stream is a tar archive of regular files with the paths of a data folder, so any tar can look into it:
//
//	BACKUP          JSON {"format":1,"log","epoch","raw_end","at","version"}: what it is a backup of
//	FORMAT  journal/*  state/*  index/*
//	MANIFEST        JSON {"files":[{"path","bytes","sha256"},…]}, in the order of the archive
//	DIGEST          32 hexadecimal digits: the 128-bit XXH3 of every byte of the archive before them
//
// and ends with the two zero blocks of tar. In a backup that builds on an earlier one a file that the earlier one has is a hard
// link entry without content, whose target is the path of the file there.
//
// A folder holds the same files, MANIFEST and BACKUP among them, and no DIGEST: MANIFEST covers all others and ends with a
// line "xxh3 DIGITS" of the 128-bit XXH3 of BACKUP and the bytes of MANIFEST before that line.
package backup
