package filter

import (
	"cmp"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// Eval returns the documents that the filter matches, exactly those for whose
// metadata Expr.Match is true. The bitmap is the caller's own. A nil filter
// matches all documents.
func (x *Index) Eval(e *Expr) *roaring.Bitmap {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if e == nil {
		return x.live.Clone()
	}
	p := x.plan(e)
	b, owned := x.eval(&p)
	if !owned {
		b = b.Clone()
	}
	return b
}

// plan is a filter resolved against an index: fields and values have become
// terms. It is good as long as the lock is held.
type plan struct {
	op    planOp
	kids  []plan
	terms []uint32 // of planTerms, ascending

	// Of planSpan: the terms of one order from lo up to hi, and the same bounds to
	// check a single term with.
	order  *ordered
	lo, hi place
	from   target
	to     target
	open   bool // there is no upper bound
	field  uint32
	kind   kind

	docs int // estimate of the matching documents, never too low
	cost int // terms to unite
}

type planOp uint8

const (
	planTerms planOp = iota // any of terms
	planSpan
	planAnd
	planOr
	planNot
)

func (x *Index) plan(e *Expr) plan {
	switch e.op {
	case opAnd, opOr:
		p := plan{op: planOr}
		if e.op == opAnd {
			p.op = planAnd
		}
		for _, k := range e.kids {
			p.kids = append(p.kids, x.plan(k))
		}
		return p.measured(x)
	case opNot:
		return plan{op: planNot, kids: []plan{x.plan(e.kids[0])}}.measured(x)
	}
	field, ok := x.fields.find(e.path)
	if !ok {
		p := plan{op: planTerms}
		if e.op == opExists && !e.want {
			return plan{op: planNot, kids: []plan{p}}.measured(x)
		}
		return p
	}
	return x.planLeaf(e, field)
}

func (x *Index) planLeaf(e *Expr, field uint32) plan {
	f := &x.fields.all[field]
	p := plan{op: planTerms, field: field}
	switch e.op {
	case opExists:
		p.terms = []uint32{f.consts[kindExists]}
		if p = p.measured(x); !e.want {
			return plan{op: planNot, kids: []plan{p}}.measured(x)
		}
		return p
	case opEq, opIn:
		for _, v := range e.values {
			var id uint32
			if v.kind < kindNumber {
				id = f.consts[v.kind]
			} else {
				key := []byte(v.key)
				id = x.terms.lookup(x.terms.hash(field, v.kind, key), field, v.kind, key)
			}
			if id != 0 {
				p.terms = append(p.terms, id)
			}
		}
		slices.Sort(p.terms)
		return p.measured(x)
	}
	p.op = planSpan
	p.bounds(e, f)
	p.lo, _ = p.order.search(&x.terms, &p.from)
	p.hi = p.order.end()
	if !p.open {
		p.hi, _ = p.order.search(&x.terms, &p.to)
	}
	return p.measured(x)
}

// bounds sets the order and the half-open interval [from, to) of a prefix or range.
func (p *plan) bounds(e *Expr, f *field) {
	if e.op == opPrefix {
		p.order, p.kind = &f.strings, kindString
		p.from = keyTarget([]byte(e.prefix))
		if p.open = e.prefix == ""; !p.open {
			// UTF-8 ends in no 0xFF, so the last byte can be raised.
			next := []byte(e.prefix)
			next[len(next)-1]++
			p.to = keyTarget(next)
		}
		return
	}
	s := e.span
	p.open = s.hi.op == ""
	if s.times {
		p.order, p.kind = &f.times, kindString
		p.from = timeTarget(s.lo.time, nil)
		if s.lo.op == "gt" {
			p.from = timeTarget(s.lo.time.next(), nil)
		}
		p.to = timeTarget(s.hi.time, nil)
		if s.hi.op == "lte" {
			p.to = timeTarget(s.hi.time.next(), nil)
		}
		return
	}
	p.order, p.kind = &f.numbers, kindNumber
	p.from = keyTarget(afterIf(s.lo.number, s.lo.op == "gt"))
	p.to = keyTarget(afterIf(s.hi.number, s.hi.op == "lte"))
}

// afterIf returns a key, or the least byte string after it.
func afterIf(key string, after bool) []byte {
	if after {
		return append([]byte(key), 0)
	}
	return []byte(key)
}

// measured sets the estimates of a plan whose parts are in place.
func (p plan) measured(x *Index) plan {
	all := int(x.live.GetCardinality())
	switch p.op {
	case planTerms:
		for _, id := range p.terms {
			p.docs += int(x.terms.at(id).n)
		}
		p.cost = len(p.terms)
	case planSpan:
		p.cost = p.order.count(p.lo, p.hi)
		p.docs = all
	case planAnd:
		p.docs = all
		for i := range p.kids {
			p.docs = min(p.docs, p.kids[i].docs)
			p.cost += p.kids[i].cost
		}
	case planOr:
		for i := range p.kids {
			p.docs += p.kids[i].docs
			p.cost += p.kids[i].cost
		}
	case planNot:
		p.docs, p.cost = all, p.kids[0].cost
	}
	p.docs = min(p.docs, all)
	return p
}

// eval returns the documents of a plan. Unless owned is true the bitmap belongs
// to the index and must not be changed.
func (x *Index) eval(p *plan) (b *roaring.Bitmap, owned bool) {
	switch p.op {
	case planTerms:
		if len(p.terms) == 1 {
			var one [1]uint32
			list, b := x.terms.list(p.terms[0], &one)
			if b != nil {
				return b, false
			}
			return roaring.BitmapOf(list...), true
		}
		u := newUnion(&x.terms, &x.live)
		u.add(p.terms)
		return u.bitmap(), true
	case planSpan:
		u := newUnion(&x.terms, &x.live)
		if p.cost > 0 {
			p.order.each(p.lo, p.hi, u.add)
		}
		return u.bitmap(), true
	case planAnd:
		return x.evalAnd(p)
	case planOr:
		out := roaring.New()
		for i := range p.kids {
			b, _ := x.eval(&p.kids[i])
			out.Or(b)
		}
		return out, true
	}
	b, _ = x.eval(&p.kids[0])
	return roaring.AndNot(&x.live, b), true
}

// checkCost is what looking one document's terms through costs, in terms to
// unite: with fewer candidates than cost/checkCost each candidate is checked instead.
const checkCost = 8

// evalAnd intersects, what is cheap and small first.
func (x *Index) evalAnd(p *plan) (out *roaring.Bitmap, owned bool) {
	slices.SortStableFunc(p.kids, func(a, b plan) int {
		return cmp.Or(cmp.Compare(a.cost+a.docs/64, b.cost+b.docs/64), cmp.Compare(a.docs, b.docs))
	})
	for i := range p.kids {
		k := &p.kids[i]
		if out == nil {
			out, owned = x.eval(k)
			continue
		}
		if n := int(out.GetCardinality()); n == 0 {
			break
		} else if n*checkCost < k.cost {
			out, owned = x.checked(out, k), true
			continue
		}
		not := k.op == planNot
		if not {
			k = &k.kids[0]
		}
		b, own := x.eval(k)
		switch {
		case not && owned:
			out.AndNot(b)
		case not:
			out, owned = roaring.AndNot(out, b), true
		case owned:
			out.And(b)
		case own:
			b.And(out)
			out, owned = b, true
		default:
			out, owned = roaring.And(out, b), true
		}
	}
	return out, owned
}

// checked returns those documents of b that a plan holds for, one by one.
func (x *Index) checked(b *roaring.Bitmap, p *plan) *roaring.Bitmap {
	var keep []uint32
	b.Iterate(func(doc uint32) bool {
		if x.holds(p, x.termsOf(doc)) {
			keep = append(keep, doc)
		}
		return true
	})
	return roaring.BitmapOf(keep...)
}

// holds reports whether a plan holds for a document with these terms, ascending.
func (x *Index) holds(p *plan, ids []uint32) bool {
	switch p.op {
	case planTerms:
		for _, id := range ids {
			if _, ok := slices.BinarySearch(p.terms, id); ok {
				return true
			}
		}
		return false
	case planSpan:
		for _, id := range ids {
			if r := x.terms.at(id); r.field == p.field && r.kind == p.kind && p.spans(&x.terms, id) {
				return true
			}
		}
		return false
	case planAnd:
		for i := range p.kids {
			if !x.holds(&p.kids[i], ids) {
				return false
			}
		}
		return true
	case planOr:
		for i := range p.kids {
			if x.holds(&p.kids[i], ids) {
				return true
			}
		}
		return false
	}
	return !x.holds(&p.kids[0], ids)
}

// spans reports whether a term of the plan's field and kind lies in its interval.
func (p *plan) spans(t *terms, id uint32) bool {
	if p.from.timed || p.to.timed {
		if _, ok := parseInstant(t.key(id)); !ok {
			return false
		}
	}
	return p.from.compare(t, id) <= 0 && (p.open || p.to.compare(t, id) > 0)
}
