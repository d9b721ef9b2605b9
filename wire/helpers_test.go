package wire_test

import (
	"math"
	"math/rand/v2"

	"github.com/freshet-io/freshet"
)

// words meets what ids and topics may hold: no control characters, anything else.
func words(r *rand.Rand, most int) string {
	letters := []rune("aZ09 /\\\"%é漢😀~")
	out := make([]rune, 1+r.IntN(most))
	for i := range out {
		out[i] = letters[r.IntN(len(letters))]
	}
	return string(out)
}

func randomKey(r *rand.Rand) freshet.Key {
	k := freshet.Key{Collection: words(r, 3), Namespace: words(r, 3), Entity: words(r, 200)}
	if r.IntN(2) == 0 {
		k.Collection = freshet.DefaultCollection
	}
	if r.IntN(2) == 0 {
		k.Namespace = freshet.DefaultNamespace
	}
	return k
}

// number meets the ends of the range often.
func number(r *rand.Rand) int64 {
	return []int64{0, 1, 127, 128, 1 << 20, math.MaxInt64, r.Int64()}[r.IntN(7)]
}

func randomVersion(r *rand.Rand) freshet.Version {
	return freshet.Version{Order: number(r), Epoch: uint32(number(r)), Offset: number(r)}
}

func randomChange(r *rand.Rand) freshet.Change {
	c := freshet.Change{Key: randomKey(r), Version: randomVersion(r), Revision: r.Uint32(), Op: freshet.OpUpsert,
		Events: uint64(number(r)), EventTime: -number(r), AcceptedAt: number(r)}
	for i := range c.Content {
		c.Content[i], c.Digest[i] = byte(r.Uint32()), byte(r.Uint32())
	}
	if r.IntN(4) == 0 {
		c.Op = freshet.OpDelete
		return c
	}
	c.Source, c.SourceEventID, c.Trace, c.Text = words(r, 5), words(r, 300), words(r, 55), words(r, 500)
	if r.IntN(2) == 0 {
		c.Metadata = []byte(`{"n":1}`)
	}
	c.OwnText = r.IntN(4) == 0
	if r.IntN(3) == 0 {
		c.ExpiresAt = number(r)
	}
	if r.IntN(3) == 0 {
		c.Base = &freshet.Base{Version: randomVersion(r), Text: []string{"", c.Text, words(r, 50)}[r.IntN(3)], OwnText: r.IntN(2) == 0, Ready: r.IntN(2) == 0}
		if r.IntN(2) == 0 {
			c.Base.Metadata = []byte(`{"n":2}`)
		}
	}
	for range r.IntN(4) {
		p := freshet.Point{Model: words(r, 9), Slot: words(r, 2), Start: r.IntN(300), Vector: make([]float32, r.IntN(40))}
		p.End = p.Start + r.IntN(300)
		for i := range p.Vector {
			p.Vector[i] = float32(r.NormFloat64())
		}
		c.Points = append(c.Points, p)
	}
	return c
}

func randomToken(r *rand.Rand) freshet.Token {
	t := freshet.Token{Log: freshet.LogID{1, 2, 3, byte(r.Uint32())}}
	for _, topic := range []string{"a", freshet.TopicRaw, "z/é"} {
		for p, n := int32(0), r.IntN(4); n > 0; n-- {
			first := r.Int64N(1 << 40)
			t.Spans = append(t.Spans, freshet.Span{Topic: topic, Partition: p, First: first, Last: first + r.Int64N(1<<30)})
			p += 1 + r.Int32N(1<<20)
		}
	}
	return t
}

func randomLetter(r *rand.Rand) freshet.DeadLetter {
	l := freshet.DeadLetter{Position: freshet.Position{Topic: freshet.TopicRaw, Partition: r.Int32(), Offset: number(r)},
		Ordinal: r.IntN(9), Stage: "map", Class: freshet.CodeNoContent, Message: words(r, 90) + "<&>\u2028", Attempts: r.IntN(5),
		At: number(r), Key: randomKey(r), EventID: words(r, 9), Source: words(r, 9), Value: []byte{}}
	for range r.IntN(50) {
		l.Value = append(l.Value, byte(r.Uint32()))
	}
	return l
}
