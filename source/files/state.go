package files

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/source/files/internal/document"
)

// sourceName is the source of the events, as their header says.
const sourceName = "files"

// headerOurs marks them. A producer may name the same source: a CloudEvent's is whatever it says.
const headerOurs = "freshet.files"

const stateFormat = 1

// sentFile is what is known of a file whose entity is not deleted.
type sentFile struct {
	hash  digest
	size  int64
	mtime int64  // ns; 0 when equal size and time would not prove that the content is unchanged
	round uint32 // the last round that found the file; not stored
	// emptied says that the file was found empty where it had content, once so far. Not stored.
	emptied bool
}

// unchanged reports whether size and time prove that a file has the content that was sent.
func (f sentFile) unchanged(info fs.FileInfo) bool {
	return f.mtime != 0 && f.mtime == info.ModTime().UnixNano() && f.size == info.Size()
}

// state is what the source has sent: the fold of its events in events.raw before offset
// through, and of those that are being appended. Memory: about 150 bytes and the path for each
// file. It is for one goroutine.
type state struct {
	log     *embedded.Log
	owner   owner
	id      string // of the folder, in keys and event ids
	through int64
	sent    uint64 // number of the last event
	reader  int    // version of package document that has read the files
	files   map[string]sentFile
}

// owner is what a state belongs to.
type owner struct {
	Path       string `json:"path"` // absolute
	Collection string `json:"collection"`
	Namespace  string `json:"namespace"`
}

type rootValue struct {
	Format int `json:"format"`
	owner
	Through int64  `json:"through"`
	Sent    uint64 `json:"sent"`
	Reader  int    `json:"reader"`
}

type fileValue struct {
	Hash  string `json:"hash"`
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"`
}

// openState reads the state of a folder, or makes it, durably, for one that has none, and
// folds what events.raw holds beyond it.
func openState(ctx context.Context, log *embedded.Log, o owner) (*state, error) {
	sum := xxh3.HashString(o.Path + "\x00" + o.Collection + "\x00" + o.Namespace)
	st := &state{log: log, owner: o, id: fmt.Sprintf("%016x", sum), files: map[string]sentFile{}}
	found, err := st.load()
	if err != nil {
		return nil, err
	}
	if !found {
		st.through, st.reader = log.RawEnd(), document.Version
		tx := log.Begin()
		if err := st.stage(tx, nil); err != nil {
			tx.Abort()
			return nil, err
		}
		return st, tx.CommitDurable(disk.SourceFilesDone)
	}
	if err := st.catchUp(ctx); err != nil {
		return nil, fmt.Errorf("read what was sent last: %w", err)
	}
	if st.reader != document.Version {
		return st, st.readAgain()
	}
	return st, nil
}

func (st *state) rootKey() []byte            { return []byte(st.id + ":") }
func (st *state) fileKey(path string) []byte { return []byte(st.id + "/" + path) }

func (st *state) load() (found bool, err error) {
	raw, found, err := st.log.GetTable(broker.TableFiles, st.rootKey())
	if err != nil || !found {
		return false, err
	}
	var v rootValue
	if err := json.Unmarshal(raw, &v); err != nil {
		return false, fmt.Errorf("state of folder %s is damaged: %w", st.owner.Path, err)
	}
	if v.Format != stateFormat || v.owner != st.owner {
		return false, fmt.Errorf("state of folder %s has format %d of folder %s, this version reads format %d; use the version that wrote it",
			st.owner.Path, v.Format, v.Path, stateFormat)
	}
	st.through, st.sent, st.reader = v.Through, v.Sent, v.Reader
	prefix := string(st.fileKey(""))
	return true, st.log.ScanTable(broker.TableFiles, nil, nil, func(key, value []byte) error {
		path, ours := strings.CutPrefix(string(key), prefix)
		if !ours {
			return nil
		}
		f, err := decodeFile(value)
		if err != nil {
			return fmt.Errorf("state of file %q: %w", path, err)
		}
		st.files[path] = f
		return nil
	})
}

func decodeFile(value []byte) (sentFile, error) {
	var v fileValue
	if err := json.Unmarshal(value, &v); err != nil {
		return sentFile{}, fmt.Errorf("is damaged: %w", err)
	}
	hash, err := parseDigest(v.Hash)
	if err != nil {
		return sentFile{}, fmt.Errorf("is damaged: %w", err)
	}
	return sentFile{hash: hash, size: v.Size, mtime: v.Mtime}, nil
}

func encodeFile(f sentFile) ([]byte, error) {
	return json.Marshal(fileValue{Hash: hex.EncodeToString(f.hash[:]), Size: f.size, Mtime: f.mtime})
}

// catchReadBytes is how much of events.raw is read at once.
const catchReadBytes = 1 << 20

// catchUp folds the events of the folder that stand in events.raw from st.through on.
func (st *state) catchUp(ctx context.Context) error {
	defer st.log.PinRaw()()
	first, end := st.log.RawFirst(), st.log.RawEnd()
	if st.through < first || st.through > end {
		forgotten := st.forget(max(0, first-st.through))
		st.through = min(max(st.through, first), end)
		if err := st.save(forgotten); err != nil {
			return err
		}
	}
	r := st.log.ReadRaw(st.through)
	defer r.Close()
	var records []journal.Record
	for r.Offset() < end {
		var err error
		if records, err = r.Next(ctx, records[:0], catchReadBytes); err != nil {
			return err
		}
		st.through = r.Offset()
		if err := st.save(st.fold(records)); err != nil {
			return err
		}
	}
	return nil
}

// forget is for events that can't be read any more, at most as many as given: whether files
// have the content that was sent last is not known then, and their numbers are not used again.
func (st *state) forget(events int64) []change {
	st.sent += uint64(events)
	changes := make([]change, 0, len(st.files))
	for path := range st.files {
		st.files[path] = sentFile{}
		changes = append(changes, change{path: path})
	}
	return changes
}

// readAgain forgets what documents hold, for they may say something else now: they are read and sent again.
func (st *state) readAgain() error {
	st.reader = document.Version
	var changes []change
	for path := range st.files {
		if !document.IsPlain(path) {
			st.files[path] = sentFile{}
			changes = append(changes, change{path: path})
		}
	}
	return st.save(changes)
}

// fold applies what the records say of this folder, and returns it.
func (st *state) fold(records []journal.Record) []change {
	var changes []change
	for i := range records {
		if !fromFiles(&records[i]) {
			continue
		}
		ev, err := codec.ParseEvent(records[i].Value, codec.Shallow)
		if err != nil {
			continue // not one of ours: those were checked before they were appended
		}
		n, content, ours := st.parseEventID(ev.ID)
		if !ours || ev.Key.Collection != st.owner.Collection || ev.Key.Namespace != st.owner.Namespace {
			continue
		}
		st.sent = max(st.sent, n)
		c := change{path: strings.Clone(ev.Key.Entity), deleted: ev.Op == freshet.OpDelete}
		if !c.deleted {
			c.file = sentFile{hash: content}
		}
		st.apply(c)
		changes = append(changes, c)
	}
	return changes
}

func fromFiles(r *journal.Record) bool {
	for _, h := range r.Headers {
		if h.Name == headerOurs {
			return true
		}
	}
	return false
}

// change is the new state of one file.
type change struct {
	path    string
	deleted bool
	file    sentFile
}

func (st *state) apply(c change) {
	if c.deleted {
		delete(st.files, c.path)
		return
	}
	st.files[c.path] = c.file
}

// save stores changes, with the offset up to which the state holds everything, as one
// transaction.
func (st *state) save(changes []change) error {
	tx := st.log.Begin()
	if err := st.stage(tx, changes); err != nil {
		tx.Abort()
		return err
	}
	return tx.Commit()
}

// stage adds changes to a transaction, with the offset up to which the state holds everything.
func (st *state) stage(tx broker.Txn, changes []change) error {
	for _, c := range changes {
		if c.deleted {
			if err := tx.DeleteTable(broker.TableFiles, st.fileKey(c.path)); err != nil {
				return err
			}
			continue
		}
		value, err := encodeFile(c.file)
		if err != nil {
			return err
		}
		if err := tx.SetTable(broker.TableFiles, st.fileKey(c.path), value); err != nil {
			return err
		}
	}
	value, err := json.Marshal(rootValue{Format: stateFormat, owner: st.owner, Through: st.through, Sent: st.sent, Reader: st.reader})
	if err != nil {
		return err
	}
	return tx.SetTable(broker.TableFiles, st.rootKey(), value)
}
