package process_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

func (b *bench) base() *process.Base {
	b.t.Helper()
	base, err := process.OpenBase(b.log, b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	return base
}

// cut folds everything up to an offset into the base, and cuts the journal there.
func (b *bench) cut(to int64) {
	b.t.Helper()
	base := b.base()
	if err := base.Advance(context.Background(), to, true); err != nil {
		b.t.Fatal(err)
	}
	if base.Position() < to {
		b.t.Fatalf("the base has come to %d, want %d", base.Position(), to)
	}
	if _, err := b.log.CutRaw(to); err != nil {
		b.t.Fatal(err)
	}
	for more := true; more; {
		var err error
		if more, err = base.Sweep(2); err != nil {
			b.t.Fatal(err)
		}
	}
}

// sweep takes out tombstones that count no more, a few at a time, and returns which.
func (b *bench) sweep(covered func(freshet.Shard, int64) bool) (swept []string) {
	b.t.Helper()
	var last []byte
	for first := true; first || last != nil; first = false {
		var err error
		last, err = b.proc.Sweep(context.Background(), last, 2, covered,
			func(key freshet.Key, _ freshet.Version) { swept = append(swept, key.Entity) })
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return swept
}

func covers(freshet.Shard, int64) bool { return true }

// Whatever happens, and however often the log is cut meanwhile: what an audit finds from the base is what it finds from the
// first record.
func TestAuditFromTheBase(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			b := newBench(t, withSmallSegments, withWindow(process.Window{MaxAgeMs: 40_000, MaxIDs: 30}))
			cuts := 0
			for range 60 {
				var batch []string
				for range 1 + rng.IntN(8) {
					b.now += rng.Int64N(4000)
					batch = append(batch, randomShort(rng))
				}
				b.send(batch)
				switch rng.IntN(6) {
				case 0:
					first := b.log.RawFirst()
					b.cut(rng.Int64N(b.log.RawEnd()) + 1)
					if b.log.RawFirst() > first {
						cuts++
					}
				case 1:
					b.command(&process.Purge{Floor: b.log.RawFirst(), Before: b.now - 60_000})
					if rng.IntN(2) == 0 {
						b.sweep(covers)
					}
				case 2:
					b.halt()
					b.start()
				}
				if r := b.audit(); !r.Clean() {
					t.Fatalf("after %d cuts the audit finds: %+v", cuts, r.Differences)
				}
			}
			if cuts < 2 {
				t.Errorf("the log was cut %d times", cuts)
			}
			// It still finds what is wrong, of what was cut off too.
			b.damage(func(tx broker.Txn) error {
				for name, c := range b.state() {
					if c.Text != "" {
						c.Version.Offset--
						t.Logf("%s is damaged", name)
						err := tx.Put(freshet.TopicSync, wire.AppendKey(nil, c.Key), wire.AppendChange(nil, &c))
						return err
					}
				}
				return errors.New("nothing to damage")
			})
			if b.audit().Clean() {
				t.Error("the audit does not find a wrong version")
			}
		})
	}
}

// randomShort is an event in the short form, of few entities, some with ids that come again, some that can't be applied.
func randomShort(rng *rand.Rand) string {
	entity, id := fmt.Sprint("e", rng.IntN(12)), ""
	if rng.IntN(2) == 0 {
		id = fmt.Sprint(" #", rng.IntN(40))
	}
	switch rng.IntN(16) {
	case 0:
		return entity + " bad" + id
	case 1:
		return `{"drop":true}`
	case 2, 3, 4:
		return "-" + entity + id
	case 5:
		return fmt.Sprintf("-%s ^%d @other", entity, 1+rng.IntN(50))
	case 6:
		return fmt.Sprintf("%s text%d ^%d @other", entity, rng.IntN(5), 1+rng.IntN(50))
	case 7, 8:
		return fmt.Sprintf(`{"entity_id":%q,"op":"patch","payload":{"n":%d,"text":%q}}`, entity, rng.IntN(5), []string{"one", "two", "bad"}[rng.IntN(3)])
	case 9, 10:
		return fmt.Sprintf(`{"entity_id":%q,"op":"patch","payload":{"m":%d}}`, entity, rng.IntN(5))
	}
	return fmt.Sprintf("%s text%d%s", entity, rng.IntN(5), id)
}

// A repeat is recognised by the base as when it was decided: within the window, and no longer.
func TestBaseRemembersIDs(t *testing.T) {
	b := newBench(t, withSmallSegments, withWindow(process.Window{MaxAgeMs: 10_000, MaxIDs: 1000}))
	b.send([]string{"a one #1 %1000"}, []string{"b one #2 %1005"})
	b.cut(2)
	b.send([]string{"a two #1 %1009"}, []string{"b two #2 %1016"}, []string{"a three #1 %1020"})
	b.mustBeClean()
	if a, bb := b.state()["a"], b.state()["b"]; a.Events != 2 || bb.Events != 2 || a.Text != "three" || bb.Text != "two" {
		t.Errorf("a %q %d, b %q %d", a.Text, a.Events, bb.Text, bb.Events)
	}
	b.cut(4)
	b.mustBeClean()
}

// An audit that is under way has what it reads, whatever is cut meanwhile.
func TestPinnedRecordsStay(t *testing.T) {
	b := newBench(t, withSmallSegments)
	b.send(oneByOne([]string{"a one", "b one", "c one", "d one", "e one"})...)
	release := b.log.PinRaw()
	b.cut(4)
	if first := b.log.RawFirst(); first != 0 {
		t.Errorf("the log was cut to %d", first)
	}
	release()
	b.cut(4)
	if first := b.log.RawFirst(); first == 0 {
		t.Error("the log was not cut")
	}
	b.mustBeClean()
}

// A tombstone is swept only if snapshots have it, and once.
func TestSweep(t *testing.T) {
	b := newBench(t)
	b.send([]string{"a one", "-a", "b one", "-b", "c one", "-c", "d one", "-d", "-e"}, []string{"d two"})
	b.command(&process.Purge{Floor: 8})
	if got := b.sweep(func(freshet.Shard, int64) bool { return false }); got != nil {
		t.Errorf("swept %v, which no snapshot has", got)
	}
	b.mustBeClean()
	if got := b.sweep(func(_ freshet.Shard, offset int64) bool { return offset != 1 }); fmt.Sprint(got) != "[a c]" {
		t.Errorf("swept %v, want a and c: b is not covered, d is back, and e is above the floor", got)
	}
	b.mustBeClean()
	if got := b.sweep(covers); fmt.Sprint(got) != "[b]" {
		t.Errorf("swept %v, want b", got)
	}
	if got := b.sweep(covers); got != nil {
		t.Errorf("swept %v again", got)
	}
	for name, there := range map[string]bool{"a": false, "b": false, "c": false, "d": true, "e": true} {
		if _, ok := b.state()[name]; ok != there {
			t.Errorf("%s is there: %v", name, ok)
		}
	}
	p, err := b.log.Purged(freshet.TopicSync, "")
	if err != nil || p.Through != 3 || p.End != 6 {
		t.Errorf("purged: %+v, %v", p, err)
	}
	b.halt()
	b.close()
	b.open()
	b.send([]string{"a two"})
	b.mustBeClean()
	if c := b.state()["a"]; c.Events != 1 {
		t.Errorf("a was changed by %d events", c.Events)
	}
}

// Offsets of vector.sync are not given out again though the last of them was swept.
func TestSweptOffsetsAreNotGivenOutAgain(t *testing.T) {
	b := newBench(t)
	b.send([]string{"a one"}, []string{"-a"})
	b.command(&process.Purge{Floor: 2})
	if got := b.sweep(covers); len(got) != 1 {
		t.Fatalf("swept %v", got)
	}
	end, err := b.log.End(freshet.TopicSync)
	if err != nil || end != 2 {
		t.Fatalf("the end is %d, %v", end, err)
	}
	b.halt()
	b.close()
	b.open()
	if end, err = b.log.End(freshet.TopicSync); err != nil || end != 2 {
		t.Errorf("after a restart the end is %d, %v", end, err)
	}
}

// An event that may be older than a forgotten deletion is refused. Only a dead letter that is sent again can be so old.
func TestTooOld(t *testing.T) {
	b := newBench(t)
	b.send([]string{"a one"}, []string{"b one"})
	b.command(&process.Purge{Floor: 2})
	// An offset below the floor, as a replay of a dead letter would have it.
	seq := process.NewSequencer(b.withState())
	d, err := seq.Decide(context.Background(), []process.Record{
		{Position: freshet.Position{Topic: freshet.TopicRaw, Offset: 1}, Value: []byte(`{"entity_id":"x","payload":{"text":"late"}}`)},
		{Position: freshet.Position{Topic: freshet.TopicRaw, Offset: 1}, Value: []byte(`{"entity_id":"a","payload":{"text":"late but there"}}`)},
	}, &process.Timing{})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Dead) != 1 || d.Dead[0].Class != freshet.CodeTooOld || d.Dead[0].Key.Entity != "x" || len(d.Changes) != 1 {
		t.Errorf("dead letters %+v, %d changes", d.Dead, len(d.Changes))
	}
}

// withState is the options of a sequencer that knows that a was changed at 0, and the facts of the processor.
func (b *bench) withState() process.SequencerOptions {
	b.t.Helper()
	facts, err := b.proc.Facts(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	o := b.options
	o.State = fixedState{facts}
	return o
}

type fixedState struct{ facts process.Facts }

func (fixedState) Dead(int64, int) (bool, process.Refusal, error) {
	return false, process.NotRefused, nil
}

func (s fixedState) Latest(key freshet.Key) (*process.Entity, error) {
	if key.Entity != "a" {
		return nil, nil
	}
	return &process.Entity{Change: freshet.Change{Key: key, Op: freshet.OpUpsert, Version: freshet.Version{Epoch: 1}}}, nil
}
func (fixedState) Seen(process.EventID) (uint64, int64, bool, error) { return 0, 0, false, nil }
func (fixedState) NextID() uint64                                    { return 0 }
func (fixedState) LastAt() int64                                     { return 0 }
func (s fixedState) Facts() process.Facts                            { return s.facts }

// What is damaged in the base is an error, not a difference.
func TestDamagedBase(t *testing.T) {
	b := newBench(t, withSmallSegments)
	b.send(oneByOne([]string{"a one", "b one", "c one #1", "-d"})...)
	b.cut(4)
	for _, key := range []string{"ea", "i", "fpurge", "fother"} {
		value := []byte("x")
		tx := b.log.Begin()
		if err := errors.Join(tx.SetTable(broker.TableBase, []byte(key), value), tx.Commit()); err != nil {
			t.Fatal(err)
		}
		if err := process.Audit(context.Background(), b.log, b.options, &freshet.AuditReport{}); err == nil {
			t.Errorf("%q = %q is taken for good", key, value)
		}
		tx = b.log.Begin()
		if err := errors.Join(tx.DeleteTable(broker.TableBase, []byte(key)), tx.Commit()); err != nil {
			t.Fatal(err)
		}
	}
}

// A deletion that is forgotten within its own batch is committed all the same: the state before it must go.
func TestForgottenWithinABatch(t *testing.T) {
	for name, last := range map[string]func(b *bench, was freshet.Change) process.Command{
		"nothing else": func(*bench, freshet.Change) process.Command { return &process.Purge{} },
		"an expiry": func(_ *bench, was freshet.Change) process.Command {
			return &process.Expire{Collection: "other", Namespace: freshet.DefaultNamespace, Entity: "c", Version: was.Version, At: was.ExpiresAt}
		},
		"an event that is refused": nil,
	} {
		b := newBench(t)
		b.send([]string{`{"entity_id":"c","collection":"other","order":5,"expires_at":2000000,"payload":{"text":"one"}}`})
		was := b.state()["c@other"]
		b.halt()
		b.append("-c ^6 @other")
		commands := []process.Command{&process.Purge{Before: b.now + 1}}
		if last != nil {
			commands = append(commands, last(b, was))
		}
		for _, c := range commands {
			if _, err := process.AppendCommand(context.Background(), b.log, c); err != nil {
				t.Fatal(err)
			}
		}
		if last == nil {
			b.append("c bad ^7 @other")
		}
		b.start()
		b.settle()
		if c, ok := b.state()["c@other"]; ok && !c.Deleted() {
			t.Errorf("%s: it is there: %+v", name, c)
		}
		b.mustBeClean()
	}
}

// What became of dead letters is forgotten once the base has passed the commands, and no audit reads from before.
func TestFatesAreSwept(t *testing.T) {
	b := newBench(t, withSmallSegments)
	b.send([]string{"a bad", "b one"}, []string{"c one"}, []string{"d one"})
	b.heal()
	b.replay(b.letters())
	b.send([]string{"e one"}, []string{"f one"})
	fates := func() (n int) {
		err := b.log.ScanTable(broker.TableProcess, []byte{'d'}, []byte{'e'}, func(_, _ []byte) error { n++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	b.cut(2)
	if fates() != 1 {
		t.Errorf("%d fates are known, the base has not passed the command yet", fates())
	}
	b.mustBeClean()
	release := b.log.PinRaw()
	b.cut(b.log.RawEnd())
	if fates() != 1 {
		t.Errorf("%d fates are known while an audit may read from before", fates())
	}
	release()
	b.cut(b.log.RawEnd())
	if fates() != 0 {
		t.Errorf("%d fates are known still", fates())
	}
	b.mustBeClean()
}

// fullLog is a log that commits so many transactions more, and then none.
type fullLog struct {
	broker.Log
	left *int
}

type fullTxn struct {
	broker.Txn
	left *int
}

func (l fullLog) Begin() broker.Txn { return fullTxn{l.Log.Begin(), l.left} }

var errFull = errors.New("no room")

func (t fullTxn) Commit() error { return t.commit(t.Txn.Commit) }

func (t fullTxn) CommitDurable(site disk.Site) error {
	return t.commit(func() error { return t.Txn.CommitDurable(site) })
}

func (t fullTxn) commit(do func() error) error {
	if *t.left == 0 {
		t.Abort()
		return errFull
	}
	*t.left--
	return do()
}

// A base that has missed events is made anew from what stands there. Wherever that is cut short, audits say so until it is repeated, and then
// name all that was missed.
func TestBaseIsMadeAnew(t *testing.T) {
	b := newBench(t, withSmallSegments)
	b.send([]string{"a one #1", "b one", "gone one"}, []string{"-gone", `{"entity_id":"b","op":"patch","payload":{"m":1}}`})
	b.cut(2)
	b.send([]string{"a two #2", "c one"})
	end := b.log.RawEnd()
	for commits := 0; ; commits++ {
		left := commits
		base, err := process.OpenBase(fullLog{b.log, &left}, b.options)
		if err != nil {
			t.Fatal(err)
		}
		gap, err := base.Renew(t.Context(), end, time.UnixMilli(5))
		if err == nil {
			if gap != (freshet.AuditGap{From: 2, To: end, Until: end, At: 5}) || base.Position() != end {
				t.Errorf("the base is at %d, missing %+v", base.Position(), gap)
			}
			break
		}
		if !errors.Is(err, errFull) {
			t.Fatal(err)
		}
		var r freshet.AuditReport
		if err := process.Audit(t.Context(), b.log, b.options, &r); commits > 0 && !errors.Is(err, process.ErrRenewing) {
			t.Errorf("after %d commits an audit ends with %v, %+v", commits, err, r)
		}
	}
	b.send([]string{"a ignored #1", "b two", "gone two"}, []string{`{"entity_id":"a","op":"patch","payload":{"m":2}}`})
	r := b.audit()
	if len(r.Gaps) != 1 || r.Gaps[0].From != 2 || !r.Clean() || r.Records != 4 {
		t.Errorf("audit: %+v", r)
	}
	b.damage(func(tx broker.Txn) error {
		c := b.state()["c"]
		c.Events++
		return tx.Put(freshet.TopicSync, wire.AppendKey(nil, c.Key), wire.AppendChange(nil, &c))
	})
	if r := b.audit(); r.Found != 1 {
		t.Errorf("the audit finds %+v", r.Differences)
	}
}
