package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
)

// gapKey is the entry of the audit base that says which events it does not have.
const gapKey = "g"

// ErrRenewing means that the audit base is being made anew.
var ErrRenewing = errors.New("events were deleted before an audit could take them in, and what audits begin with is being made anew; try again in a moment")

// Renew makes what vector.sync and the table of processing have at present what audits begin with: events between the end of the base and
// first were deleted before they were folded. Reports of audits name them from then on. It goes step by step, while events are decided;
// if it is cut short it is to be repeated, and until it is done audits fail with [ErrRenewing].
func (b *Base) Renew(ctx context.Context, first int64, now time.Time) (gap freshet.AuditGap, err error) {
	if gap, err = b.renew(ctx, first, now); err != nil {
		return gap, fmt.Errorf("make the audit base anew: %w", err)
	}
	return gap, nil
}

func (b *Base) renew(ctx context.Context, first int64, now time.Time) (gap freshet.AuditGap, err error) {
	gap = freshet.AuditGap{From: b.next, To: first, At: now.UnixMilli()}
	if before, err := readGap(b.log); err != nil {
		return gap, err
	} else if before != nil && before.Until == 0 { // it was cut short
		gap.From = before.From
	}
	tx := b.log.Begin()
	if err := errors.Join(setGap(tx, gap), tx.Move(b.member, freshet.TopicRaw, 0, 0)); err != nil {
		tx.Abort()
		return gap, err
	}
	if err := tx.Commit(); err != nil {
		return gap, err
	}
	if err := clearTable(b.log, nil, nil, func(k []byte) bool { return string(k) == gapKey }); err != nil {
		return gap, err
	}
	view := b.log.View()
	defer view.Close()
	if gap.Until, err = view.Position(Group, freshet.TopicRaw, 0); err != nil {
		return gap, err
	}
	a := &adopter{log: b.log, tx: b.log.Begin()}
	began := time.Now()
	a.rest = func() error {
		err := rest(ctx, began, false)
		began = time.Now()
		return err
	}
	if err = a.adopt(view); err == nil {
		err = errors.Join(setGap(a.tx, gap), a.tx.Move(b.member, freshet.TopicRaw, 0, gap.Until))
	}
	if err != nil {
		a.tx.Abort()
		return gap, err
	}
	if err := a.commit(); err != nil {
		return gap, err
	}
	return gap, b.open()
}

func setGap(tx broker.Txn, gap freshet.AuditGap) error {
	v, err := json.Marshal(gap)
	if err != nil {
		return err
	}
	return tx.SetTable(broker.TableBase, []byte(gapKey), v)
}

// readGap returns what the audit base does not have; nil if it has everything.
func readGap(from interface {
	ScanTable(t broker.Table, lower, upper []byte, yield func(key, value []byte) error) error
}) (gap *freshet.AuditGap, err error) {
	err = from.ScanTable(broker.TableBase, []byte(gapKey), []byte(gapKey+"\x00"), func(_, v []byte) error {
		gap = &freshet.AuditGap{}
		return json.Unmarshal(v, gap)
	})
	if err != nil {
		return nil, fmt.Errorf("read what the audit base does not have: %w", err)
	}
	return gap, nil
}
