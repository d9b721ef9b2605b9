package embedded

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

// A snapshot file holds one shard. Numbers are little-endian, checksums CRC-32C.
//
//	header, 64 bytes
//	 0  4  magic "FRSN"
//	 4  1  format number, 2
//	 5  3  0
//	 8  8  identity of the log
//	16  8  position: the offset of vector.sync that the start goes on from
//	24  4  id of the encryption key, 0 = not encrypted
//	28  8  number of documents
//	36 24  0
//	60  4  checksum of bytes 0 to 59
//	documents: blocks, each length of the body 4, checksum of the body 4, body
//	   the first body: str collection, str namespace
//	   the others: uvarint documents n; n × uvarint length of the entity id, 0 when it has none; the ids; then for each document 58 bytes:
//	      order 8, epoch 4, offset 8, revision 4, points 2, content digest 16, state digest 16
//	filter index: see package filter
//	vector index: see package ann
//	footer, 32 bytes
//	 0  8  where the filter index begins     8  8  where the vector index begins
//	16  8  where the footer begins          24  4  checksum of bytes 0 to 23     28  4  "FRSE"
//
// str is a uvarint length and that many bytes.
//
// # Why one moment is not needed
//
// The position is read first, then the documents are written, then the filter index, then the vector index, while changes
// are applied. Every change below the position is in all three. What changes an entity while they are written has an
// offset at or above the position, so the next start finds it in the tail of vector.sync and applies it again, whatever
// mixture the snapshot has of that entity: see loader.change.
const (
	snapshotMagic   = "FRSN"
	snapshotEnd     = "FRSE"
	snapshotFormat  = 2
	snapshotHeader  = 64
	snapshotFooter  = 32
	blockHead       = 8
	docRow          = 58
	maxBlockBytes   = 64 << 20
	maxGroupFiles   = 64        // files that get their names together
	maxGroupBytes   = 256 << 20 // bytes of those, about
	snapshotSyncing = 8 << 20   // bytes after which the system is asked to begin writing
	// encodeStep is how many documents are encoded under one lock, so that changes and searches never wait for the whole
	// table. It is the number of documents of a block.
	encodeStep = 2048
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Advance says that every record of vector.sync below the offset next has been applied, so that snapshots cover it.
// Who applies the changes in order calls it; without it snapshots cover what the store was opened with.
func (s *Store) Advance(next int64) {
	for {
		now := s.covered.Load()
		if next <= now || s.covered.CompareAndSwap(now, next) {
			return
		}
	}
}

// Snapshot writes the shards that have changed since their last one. Searches and changes go
// on meanwhile. Of each shard the snapshot before is kept too; an older one is removed once the new one is durable.
func (s *Store) Snapshot(ctx context.Context) (written int, err error) {
	s.snapping.Lock()
	defer s.snapping.Unlock()
	covered := s.covered.Load()
	g := group{s: s}
	for _, sh := range s.all() {
		if sh.dirty.Load() == 0 {
			sh.position = max(sh.position, covered) // nothing of it is missing in its last snapshot
			continue
		}
		if err := ctx.Err(); err != nil {
			return written, errors.Join(err, g.abandon())
		}
		if err := g.add(sh); err != nil {
			return written, errors.Join(fmt.Errorf("snapshot of %s/%s: %w", sh.name.Collection, sh.name.Namespace, err), g.abandon())
		}
		if len(g.files) == maxGroupFiles || g.bytes >= maxGroupBytes {
			n, err := g.commit()
			if written += n; err != nil {
				return written, err
			}
		}
	}
	n, err := g.commit()
	if written += n; err != nil || written == 0 {
		return written, err
	}
	return written, s.writePositions()
}

// Unsaved is the number of changes that no snapshot has: what the next start would apply.
func (s *Store) Unsaved() (n int64) {
	for _, sh := range s.all() {
		n += sh.dirty.Load()
	}
	return n
}

// group is snapshots that become durable and get their names together: a thousand small shards cost few syncs.
type group struct {
	s     *Store
	files []groupFile
	bytes int64
}

type groupFile struct {
	sh       *shard
	path     string // without the suffix of temporary files
	position int64
	changes  int64 // of the shard's dirty ones, covered
	number   uint64
}

const temporary = ".tmp"

// add writes the file of a shard under a temporary name and makes its bytes durable. A shard that is dropped meanwhile
// gets none.
func (g *group) add(sh *shard) error {
	if sh.dropped.Load() {
		return nil
	}
	err := g.write(sh)
	if sh.dropped.Load() { // its index may have been closed
		g.leaveDropped()
		return nil
	}
	return err
}

// leaveDropped takes out the shards that were dropped. A file whose position lies behind the drop must not get its name:
// the next start would take it. One of which the drop is not seen here has a position before it.
func (g *group) leaveDropped() {
	kept := g.files[:0]
	for _, f := range g.files {
		if f.sh.dropped.Load() {
			_ = g.s.log.FS().Remove(f.path + temporary)
			g.s.removeFiles(hashOf(f.sh.name), f.sh.files.all())
		} else {
			kept = append(kept, f)
		}
	}
	g.files = kept
}

// write writes the file of a shard for add.
func (g *group) write(sh *shard) error {
	fs := g.s.log.FS()
	changes := sh.dirty.Load()
	f := groupFile{sh: sh, changes: changes, position: g.s.covered.Load(), number: sh.files.newest() + 1}
	f.path = fs.PathJoin(g.s.dir, snapshotName(sh.name, f.number))
	g.files = append(g.files, f)
	sh.oldest.Store(min(sh.oldest.Load(), f.position)) // what is deleted above it stays from now on
	file, err := fs.Create(f.path+temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	steady := vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: snapshotSyncing})
	w := &snapshotWriter{w: bufio.NewWriterSize(steady, 1<<20)}
	sh.setSaving(true)
	defer sh.setSaving(false)
	if err := w.write(g.s, sh, f.position); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := fs.SyncData(file, disk.SnapshotFile); err != nil {
		return errors.Join(err, file.Close())
	}
	g.bytes += w.n
	return file.Close()
}

// commit gives the files their names and removes what they make superfluous. The files must not outlive what they were
// derived from: the tables are made durable first.
func (g *group) commit() (written int, err error) {
	fs := g.s.log.FS()
	if len(g.files) == 0 {
		return 0, nil
	}
	if err := g.s.log.Sync(disk.StateSnapshot); err != nil {
		return 0, errors.Join(err, g.abandon())
	}
	g.leaveDropped()
	for _, f := range g.files {
		if err := fs.Rename(f.path+temporary, f.path); err != nil {
			return 0, errors.Join(err, g.abandon())
		}
	}
	if err := fs.SyncDir(g.s.dir, disk.SnapshotDir); err != nil {
		return 0, err
	}
	var errs []error
	for _, f := range g.files {
		f.sh.position = f.position
		f.sh.dirty.Add(-f.changes)
		errs = append(errs, g.s.removeOld(f.sh, f.number, f.position))
	}
	written = len(g.files)
	g.files, g.bytes = g.files[:0], 0
	return written, errors.Join(errs...)
}

// abandon removes temporary files. One that stays, after a crash, is removed at the next start.
func (g *group) abandon() error {
	fs := g.s.log.FS()
	for _, f := range g.files {
		_ = fs.Remove(f.path + temporary)
		f.sh.oldest.Store(f.sh.files.oldest())
	}
	g.files, g.bytes = nil, 0
	return nil
}

// snapshotWriter writes one file and knows where it is.
type snapshotWriter struct {
	w *bufio.Writer
	n int64
}

// Write implements io.Writer.
func (w *snapshotWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	return n, err
}

func (w *snapshotWriter) write(s *Store, sh *shard, position int64) error {
	if err := w.begin(s.id, sh, position); err != nil {
		return err
	}
	return w.finish(sh)
}

// begin writes the header and the documents.
func (w *snapshotWriter) begin(id [8]byte, sh *shard, position int64) error {
	count := sh.size()
	if _, err := w.Write(snapshotHead(id, position, count)); err != nil {
		return err
	}
	return w.documents(sh, count)
}

// finish writes the filter index, the vector index and the footer.
func (w *snapshotWriter) finish(sh *shard) error {
	sh.reading.RLock()
	defer sh.reading.RUnlock()
	foot := binary.LittleEndian.AppendUint64(nil, uint64(w.n))
	if err := sh.filter.Snapshot(w); err != nil {
		return err
	}
	foot = binary.LittleEndian.AppendUint64(foot, uint64(w.n))
	if err := sh.vectors().Snapshot(w); err != nil {
		return err
	}
	foot = binary.LittleEndian.AppendUint64(foot, uint64(w.n))
	foot = binary.LittleEndian.AppendUint32(foot, crc32.Checksum(foot, castagnoli))
	if _, err := w.Write(append(foot, snapshotEnd...)); err != nil {
		return err
	}
	return w.w.Flush()
}

func snapshotHead(id [8]byte, position int64, count int) []byte {
	b := append([]byte(snapshotMagic), snapshotFormat, 0, 0, 0)
	b = append(b, id[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(position))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(count))
	b = append(b, make([]byte, snapshotHeader-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (w *snapshotWriter) documents(sh *shard, count int) error {
	name := appendString(appendString(nil, sh.name.Collection), sh.name.Namespace)
	if err := writeBlock(w, name); err != nil {
		return err
	}
	var body []byte
	for from := 0; from < count; from += encodeStep {
		body = sh.encodeDocs(body[:0], from, min(count, from+encodeStep))
		if err := writeBlock(w, body); err != nil {
			return err
		}
	}
	return nil
}

func writeBlock(w io.Writer, body []byte) error {
	var head [blockHead]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(body)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(body, castagnoli))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// encodeDocs appends a block of documents.
func (s *shard) encodeDocs(b []byte, from, to int) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b = binary.AppendUvarint(b, uint64(to-from))
	for doc := from; doc < to; doc++ {
		b = binary.AppendUvarint(b, uint64(len(s.docs.id(uint32(doc)))))
	}
	for doc := from; doc < to; doc++ {
		b = append(b, s.docs.id(uint32(doc))...)
	}
	for doc := from; doc < to; doc++ {
		b = appendDoc(b, &s.docs.info[doc])
	}
	return b
}

func appendDoc(b []byte, info *docInfo) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(info.version.Order))
	b = le.AppendUint32(b, info.version.Epoch)
	b = le.AppendUint64(b, uint64(info.version.Offset))
	b = le.AppendUint32(b, info.revision)
	b = le.AppendUint16(b, info.points)
	b = append(b, info.content[:]...)
	return append(b, info.digest[:]...)
}

func appendString(b []byte, v string) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}
