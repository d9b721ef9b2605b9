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
