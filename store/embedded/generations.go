package embedded

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
)

// keptGenerations is how many snapshots of a shard are kept: the newest, and the one before for the case that it is damaged.
const keptGenerations = 2

// A snapshot's name is the 128-bit XXH3 of the shard's name and the number of the snapshot, which rises by one with each.
const snapshotSuffix = ".snap"

type shardHash [16]byte

func hashOf(name freshet.Shard) shardHash {
	b := binary.AppendUvarint(nil, uint64(len(name.Collection)))
	return xxh3.Hash128(append(append(b, name.Collection...), name.Namespace...)).Bytes()
}

func snapshotName(name freshet.Shard, number uint64) string { return fileName(hashOf(name), number) }

func fileName(h shardHash, number uint64) string {
	return fmt.Sprintf("%x-%016x%s", h, number, snapshotSuffix)
}

// parseName is the inverse of fileName. The files of format 1 had no number, and count as number 0.
func parseName(name string) (h shardHash, number uint64, ok bool) {
	stem, ok := strings.CutSuffix(name, snapshotSuffix)
	hash, digits, numbered := strings.Cut(stem, "-")
	raw, err := hex.DecodeString(hash)
	if !ok || err != nil || len(raw) != len(h) {
		return h, 0, false
	}
	if numbered {
		if number, err = strconv.ParseUint(digits, 16, 64); err != nil || number == 0 || fileName(shardHash(raw), number) != name {
			return h, 0, false
		}
	}
	return shardHash(raw), number, true
}

// generations are the snapshots of a shard that are on disk, by number, ascending.
type generations struct {
	sound []uint64 // loaded or written, or not looked at
	// from is the position of each sound one: 0 of one that was not looked at, which may be any.
	from map[uint64]int64
	bad  []uint64 // could not be used; they go when the next one is there
}

// all are the numbers of all that are there.
func (g *generations) all() []uint64 { return slices.Concat(g.sound, g.bad) }

func (g *generations) newest() uint64 {
	n := uint64(0)
	for _, number := range g.all() {
		n = max(n, number)
	}
	return n
}

// oldest is the position that all sound ones reach; MaxInt64 when there is none.
func (g *generations) oldest() int64 {
	from := int64(math.MaxInt64)
	for _, number := range g.sound {
		from = min(from, g.from[number])
	}
	return from
}

// removeOld notes a new snapshot of a shard, and removes those that it makes superfluous.
func (s *Store) removeOld(sh *shard, number uint64, position int64) error {
	g := &sh.files
	g.sound = append(g.sound, number)
	if g.from == nil {
		g.from = map[uint64]int64{}
	}
	g.from[number] = position
	drop := g.bad
	if n := len(g.sound) - keptGenerations; n > 0 {
		drop = append(drop, g.sound[:n]...)
		g.sound = slices.Clone(g.sound[n:])
	}
	g.bad = nil
	var errs []error
	for _, number := range drop {
		delete(g.from, number)
		errs = append(errs, s.removeFile(hashOf(sh.name), number))
	}
	sh.oldest.Store(g.oldest())
	return errors.Join(errs...)
}

func (s *Store) removeFile(h shardHash, number uint64) error {
	name := fileName(h, number)
	if number == 0 {
		name = hex.EncodeToString(h[:]) + snapshotSuffix
	}
	err := s.log.FS().Remove(s.log.FS().PathJoin(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// listSnapshots returns the snapshots on disk, newest first, and removes temporary files that a crash has left.
func (s *Store) listSnapshots() (map[shardHash][]uint64, error) {
	dfs := s.log.FS()
	names, err := dfs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	found := map[shardHash][]uint64{}
	for _, name := range names {
		if stem, cut := strings.CutSuffix(name, temporary); cut {
			if _, _, ours := parseName(stem); ours {
				_ = dfs.Remove(dfs.PathJoin(s.dir, name)) // if it stays it is overwritten
			}
		} else if h, number, ok := parseName(name); ok {
			found[h] = append(found[h], number)
		}
	}
	for _, numbers := range found {
		slices.SortFunc(numbers, func(a, b uint64) int { return cmp.Compare(b, a) })
	}
	return found, nil
}

// The file "positions" says from where on vector.sync has what the newest snapshots do not have. A shard that has not
// changed is not written again, but the position that it is known to cover goes on, or the next start would have to go
// through all that has happened to others. Its bytes, little-endian:
//
//	 0  4  magic "FRSP"     4  1  format, 1     5  3  0
//	 8  8  identity of the log
//	16  …  per shard: hash of its name 16, number of the snapshot 8, position 8
//	       checksum of all before, CRC-32C, 4
//
// Without it, or when it is damaged, the positions in the snapshots count, which are never above: it is not synced.
const (
	positionsFile   = "positions"
	positionsMagic  = "FRSP"
	positionsFormat = 1
	positionsHead   = 16
	positionsEntry  = 32
)

// snapshotID names a snapshot.
type snapshotID struct {
	shard  shardHash
	number uint64
}

// writePositions writes the positions of the newest snapshots of all shards.
func (s *Store) writePositions() error {
	b := append([]byte(positionsMagic), positionsFormat, 0, 0, 0)
	b = append(b, s.id[:]...)
	for _, sh := range s.all() {
		if n := len(sh.files.sound); n > 0 {
			h := hashOf(sh.name)
			b = append(b, h[:]...)
			b = binary.LittleEndian.AppendUint64(b, sh.files.sound[n-1])
			b = binary.LittleEndian.AppendUint64(b, uint64(sh.position))
		}
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	dfs := s.log.FS()
	path := dfs.PathJoin(s.dir, positionsFile)
	f, err := dfs.Create(path+temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return dfs.Rename(path+temporary, path)
}

// readPositions returns the positions of snapshots, as far as they are known; vector.sync ends at end.
func (s *Store) readPositions(end int64) map[snapshotID]int64 {
	known := map[snapshotID]int64{}
	b, err := s.log.FS().ReadFile(s.log.FS().PathJoin(s.dir, positionsFile))
	if err != nil {
		return known
	}
	n := len(b) - 4
	damaged := n < positionsHead || (n-positionsHead)%positionsEntry != 0 ||
		!bytes.HasPrefix(b, append([]byte(positionsMagic), positionsFormat, 0, 0, 0)) ||
		crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:])
	if !damaged {
		end, err = s.historyEnd(freshet.LogID(b[8:positionsHead]), end)
	}
	if damaged || err != nil {
		s.logger.Warn("the file of snapshot positions is damaged; the start reads more of the log", "file", positionsFile)
		return known
	}
	for e := b[positionsHead:n]; len(e) > 0; e = e[positionsEntry:] {
		if position := int64(binary.LittleEndian.Uint64(e[24:])); position <= end {
			known[snapshotID{shardHash(e), binary.LittleEndian.Uint64(e[16:])}] = position
		}
	}
	return known
}
