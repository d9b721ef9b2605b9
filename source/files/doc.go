// Package files is a source that keeps a folder of files and the index in step: each
// file is an entity, named by its path below the folder, with slashes. It watches the folder
// and everything below it; what the watch may miss, a scan now and then finds.
//
// What a file says package document reads: plain UTF-8 text, Markdown, HTML and PDF. It follows no
// symbolic links, and splits nothing: long texts are split into points where they are embedded.
//
// # What is a file of text
//
// Passed over are files and folders whose name begins with a dot or matches a pattern of
// Options.Ignore, the folders node_modules, vendor and bin, freshet's own data folder,
// symbolic links and whatever else is no regular file, files larger than Options.MaxBytes,
// files with a NUL byte in the first 8 KiB or with invalid UTF-8 (but for PDFs, which may also be
// larger), files of white space alone, documents whose text can't be read or that have none, and paths that can't be an id (see [freshet.MaxIDBytes]). A file that was sent and falls
// under one of these later is deleted from the index, as one that vanished. What can't be
// read, because of permissions or of a fault, is left as it is and tried again. That goes for
// the watched folder too: nothing is deleted because it can't be read. An empty one, though, is
// taken at its word; mount what belongs there before freshet starts.
//
// # Exactly once
//
// events.raw is the truth of what was sent; the state table ([broker.TableFiles]) is a fold
// of it, with the offset up to which it was folded. An event is appended first and the table
// is written afterwards, in one transaction with the offset behind the event, so at any moment
// the table is the fold of some beginning of events.raw. Run first folds what events.raw holds
// beyond that offset, and only then looks at the folder: whatever a crash has left out between
// acknowledgement and table, and whatever an append with an unknown outcome did, is known
// before the next comparison. So nothing is sent twice and, what is easier to get wrong, no
// change is taken for one that was sent already. Were an append only repeated under the same
// id, this would be lost: the table says A; B is appended; crash; the file goes back to A while
// freshet is down; the table and the file agree, and the index keeps B.
//
// The transactions need no sync: if a power cut takes some of them back, the offset goes back
// with them. Only the first record of a folder is synced, before anything is sent: without it
// there would be no offset to fold from.
//
// Should events.raw begin after that offset, because retention has cut it, nothing is known of
// what the files' entities hold, and every file is sent again.
//
// Event ids are ROOT.N.CONTENT: a digest of the folder's path, collection and namespace; the
// count of the folder's events; and a digest of the file's content, or "deleted". N rises with
// each event, so A→B→A, and deleting and making a file again, are as many different events.
//
// # Keys of the state table
//
//	ROOT ":"       → JSON {"format","path","collection","namespace","through","sent","reader"}
//	ROOT "/" path  → JSON {"hash","size","mtime"}
//
// through is the offset of events.raw up to which the table holds what was sent, sent the
// largest N, reader the version of package document: under another one documents are read and sent
// again. mtime is in ns; 0 means that size and time don't prove the content unchanged.
//
// A folder must be configured once. Two folders that feed the same collection and namespace
// overwrite each other's files of equal paths.
package files
