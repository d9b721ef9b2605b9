package embedded

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/wire"
)

// A snapshot file holds one shard:
//
//	 0  4  magic "FRSN"
//	 4  1  format number, 1
//	 5  3  0
//	 8  8  identity of the log
//	16  4  length n of the documents' section
//	20  4  CRC-32C of the section
//	24  4  id of the encryption key, 0 = not encrypted
//	28  n  documents: str collection, str namespace, uvarint count, then per document
//	       str entity id, 20 bytes version, uvarint revision, uvarint points,
//	       16 bytes content digest, 16 bytes state digest
//	 …     snapshot of the vector index (package ann), with its own checksums
//
// str is a uvarint length and that many bytes. The documents are written first: an index that
// is newer than they are is put right at the next start, when every record of vector.sync
// that is newer than its document is applied again.
const (
	snapshotMagic  = "FRSN"
	snapshotFormat = 1
	snapshotHeader = 28
	snapshotSuffix = ".snap"
	maxDocsBytes   = 1 << 31
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func snapshotName(name freshet.Shard) string {
	b := binary.AppendUvarint(nil, uint64(len(name.Collection)))
	b = append(append(b, name.Collection...), name.Namespace...)
	sum := xxh3.Hash128(b).Bytes()
	return hex.EncodeToString(sum[:]) + snapshotSuffix
}

// Snapshot writes the shards that have changed since their last one. Searches and changes go
// on meanwhile. Only one call at a time is useful.
func (s *Store) Snapshot(ctx context.Context) (written int, err error) {
	fs := s.log.FS()
	for _, sh := range s.all() {
		changes := sh.dirty.Load()
		if changes == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return written, err
		}
		err := fs.Replace(fs.PathJoin(s.dir, snapshotName(sh.name)), disk.SnapshotFile, disk.SnapshotDir,
			func(w io.Writer) error { return s.write(sh, w) })
		if err != nil {
			return written, fmt.Errorf("snapshot of %s/%s: %w", sh.name.Collection, sh.name.Namespace, err)
		}
		sh.dirty.Add(-changes)
		written++
	}
	return written, nil
}

func (s *Store) write(sh *shard, w io.Writer) error {
	section := sh.encodeDocs()
	if len(section) > maxDocsBytes {
		return fmt.Errorf("the table of documents has %d bytes, a snapshot can hold %d", len(section), maxDocsBytes)
	}
	id := s.log.ID()
	head := append([]byte(snapshotMagic), snapshotFormat, 0, 0, 0)
	head = append(head, id[:]...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(section)))
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(section, castagnoli))
	head = binary.LittleEndian.AppendUint32(head, 0)
	bw := bufio.NewWriterSize(w, 1<<20)
	if _, err := bw.Write(append(head, section...)); err != nil {
		return err
	}
	if err := sh.index.Snapshot(bw); err != nil {
		return err
	}
	if err := bw.Flush(); err != nil {
		return err
	}
	// The snapshot must not outlive what it was derived from: the table is made durable first.
	return s.log.Sync(disk.StateSnapshot)
}

// encodeStep is how many documents are encoded under one lock, so that changes and searches
// never wait for the whole table. Documents are then of different moments, which does no
// harm: all of them are before the moment of the index.
const encodeStep = 1024

func (s *shard) encodeDocs() []byte {
	s.mu.RLock()
	count := s.docs.len()
	b := make([]byte, 0, 64+len(s.docs.arena)+count*64)
	s.mu.RUnlock()
	b = appendString(b, s.name.Collection)
	b = appendString(b, s.name.Namespace)
	b = binary.AppendUvarint(b, uint64(count))
	for from := 0; from < count; from += encodeStep {
		s.mu.RLock()
		for doc := from; doc < min(count, from+encodeStep); doc++ {
			b = appendDoc(b, s.docs.id(uint32(doc)), &s.docs.info[doc])
		}
		s.mu.RUnlock()
	}
	return b
}

func appendDoc(b, id []byte, info *docInfo) []byte {
	b = binary.AppendUvarint(b, uint64(len(id)))
	b = append(b, id...)
	b = wire.AppendVersion(b, info.version)
	b = binary.AppendUvarint(b, uint64(info.revision))
	b = binary.AppendUvarint(b, uint64(info.points))
	b = append(b, info.content[:]...)
	return append(b, info.digest[:]...)
}

func appendString(b []byte, v string) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// readSnapshot reads a snapshot file. The filter index is left empty: it is filled from the
// records of vector.sync.
func (s *Store) readSnapshot(name string) (*shard, error) {
	fs := s.log.FS()
	f, err := fs.Open(fs.PathJoin(s.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	section, err := s.readSection(r)
	if err != nil {
		return nil, err
	}
	sh, err := decodeDocs(section)
	if err != nil {
		return nil, err
	}
	opt, err := s.annOptions(sh.name.Collection)
	if err != nil {
		return nil, err
	}
	if sh.index, err = ann.Load(r, opt); err != nil {
		return nil, err
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return nil, errors.Join(errors.New("bytes follow its end"), sh.close())
	}
	sh.metric, sh.dim, sh.filter = opt.Metric, opt.Dim, filter.NewIndex()
	if err := sh.dropOrphans(); err != nil {
		return nil, errors.Join(err, sh.close())
	}
	return sh, nil
}

func (s *Store) readSection(r io.Reader) ([]byte, error) {
	head := make([]byte, snapshotHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	id := s.log.ID()
	switch {
	case string(head[:4]) != snapshotMagic:
		return nil, errors.New("it is no snapshot")
	case head[4] != snapshotFormat:
		return nil, fmt.Errorf("it has format %d, this version reads %d", head[4], snapshotFormat)
	case !bytes.Equal(head[5:8], make([]byte, 3)):
		return nil, errors.New("its header is malformed")
	case !bytes.Equal(head[8:16], id[:]):
		return nil, errors.New("it is of another log")
	case binary.LittleEndian.Uint32(head[24:]) != 0:
		return nil, errors.New("it is encrypted, which this version can't read")
	}
	n := binary.LittleEndian.Uint32(head[16:])
	if n > maxDocsBytes {
		return nil, fmt.Errorf("its documents' section claims %d bytes", n)
	}
	// Read as it comes, so that a damaged length costs no more memory than the file has bytes.
	var section bytes.Buffer
	if m, err := io.CopyN(&section, r, int64(n)); err != nil {
		return nil, fmt.Errorf("its documents' section is cut off after %d of %d bytes: %w", m, n, err)
	}
	if sum := crc32.Checksum(section.Bytes(), castagnoli); sum != binary.LittleEndian.Uint32(head[20:]) {
		return nil, errors.New("the checksum of its documents' section is wrong")
	}
	return section.Bytes(), nil
}

func decodeDocs(b []byte) (*shard, error) {
	d := wire.NewDecoder(b)
	sh := &shard{name: freshet.Shard{Collection: d.String(), Namespace: d.String()}}
	count := d.Uvarint()
	for i := uint64(0); i < count && !d.Bad(); i++ {
		id := d.String()
		info := docInfo{version: d.Version()}
		revision, points := d.Uvarint(), d.Uvarint()
		copy(info.content[:], d.Take(16))
		copy(info.digest[:], d.Take(16))
		if d.Bad() || id == "" || revision > math.MaxUint32 || points >= MaxPoints {
			return nil, errDocs
		}
		info.revision, info.points = uint32(revision), uint16(points)
		if _, ok := sh.docs.find(id); ok {
			return nil, fmt.Errorf("its documents name entity %q twice", id)
		}
		sh.docs.set(sh.docs.add(id), info)
	}
	if d.Bad() || !d.Done() {
		return nil, errDocs
	}
	return sh, nil
}

var errDocs = errors.New("its documents' section is malformed")

// dropOrphans removes points that the documents don't have: the index was written a moment
// later than they were.
func (s *shard) dropOrphans() error {
	var ops []ann.Op
	s.index.Each(func(key uint64, _ []float32) bool {
		if doc := docOf(key); int(doc) >= s.docs.len() || slotOf(key) >= int(s.docs.info[doc].points) {
			ops = append(ops, ann.Op{Key: key})
		}
		return true
	})
	if len(ops) == 0 {
		return nil
	}
	return s.index.Apply(ops)
}
