package filter

import "slices"

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

// plan resolves a filter.
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
