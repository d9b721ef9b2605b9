package demo

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
)

// The collections of the shop.
const (
	Products = "products"
	Sessions = "sessions"
)

// Sample is the first product of the catalogue. The shop leaves it alone once it is sent, so
// that a person can get and delete it.
const Sample = "p-00000"

const defaultRun = "demo"

// ShopOptions are the settings of a Shop. The zero value of every field means its default.
type ShopOptions struct {
	Seed     uint64
	Products int    // in the catalogue at the start; default 3000
	Sessions int    // customers in the shop at a time; default 300
	Run      string // begins every event id, so that two runs into one server differ; default "demo"
}

// Event is what the shop sends, in the form of the default mapping.
type Event struct {
	ID         string `json:"event_id"`
	Entity     string `json:"entity_id"`
	Collection string `json:"collection"`
	Op         string `json:"op,omitempty"`
	Payload    any    `json:"payload,omitempty"`
}

// JSON is the event as one line, without the line feed.
func (e *Event) JSON() []byte {
	raw, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and finite numbers only
	}
	return raw
}

// Shop makes up events, the same for the same options. It is not safe for concurrent use.
type Shop struct {
	opts     ShopOptions
	rng      *rand.Rand
	products []*product // on sale; the first is Sample
	byTopic  map[topic][]*product
	sessions []*session
	events   int // made so far, for their ids
	articles int // introduced so far, for theirs
	visits   int
}

// topic is what an interest is about: a kind of product in a category.
type topic struct{ category, kind int }

// NewShop returns a shop that has sent nothing yet.
func NewShop(o ShopOptions) *Shop {
	if o.Products == 0 {
		o.Products = 3000
	}
	if o.Sessions == 0 {
		o.Sessions = 300
	}
	if o.Run == "" {
		o.Run = defaultRun
	}
	s := &Shop{opts: o, rng: rand.New(rand.NewPCG(o.Seed, 0x73686f70)), byTopic: map[topic][]*product{}}
	for range max(minProducts, o.Products) {
		s.introduce()
	}
	for range o.Sessions {
		s.sessions = append(s.sessions, s.newSession())
	}
	return s
}

// Catalogue returns an event for each product on sale: what a shop sends first.
func (s *Shop) Catalogue() []Event {
	out := make([]Event, len(s.products))
	for i, p := range s.products {
		out[i] = s.upsert(p)
	}
	return out
}

// shares of what happens, of 1000: the rest are clicks.
const (
	shareStock    = 150
	sharePrice    = 80
	shareDescribe = 40
	shareNew      = 10
	shareGone     = 10
)

// Next returns what happens next.
func (s *Shop) Next() Event {
	n := s.rng.IntN(1000)
	for _, h := range []struct {
		share int
		event func() Event
	}{
		{shareStock, s.stockChange}, {sharePrice, s.priceChange}, {shareDescribe, s.rewrite},
		{shareNew, s.newArticle}, {shareGone, s.discontinue},
	} {
		if n -= h.share; n < 0 {
			return h.event()
		}
	}
	return s.click()
}

func (s *Shop) event(collection, entity string) Event {
	s.events++
	return Event{ID: fmt.Sprintf("%s-%d", s.opts.Run, s.events), Entity: entity, Collection: collection}
}

func (s *Shop) upsert(p *product) Event {
	e := s.event(Products, p.id)
	e.Payload = p.payload()
	return e
}

// any is a product on sale other than Sample.
func (s *Shop) any() *product { return s.products[1+s.rng.IntN(len(s.products)-1)] }

func (s *Shop) stockChange() Event {
	p := s.any()
	if p.stock = p.stock - 1 - s.rng.IntN(3); p.stock < 0 {
		p.stock = 40 + s.rng.IntN(80) // a delivery
	}
	return s.upsert(p)
}

func (s *Shop) priceChange() Event {
	p := s.any()
	base := categories[p.category].kinds[p.kind].price
	p.price = roundPrice(base * math.Exp(0.35*s.rng.NormFloat64()))
	return s.upsert(p)
}

func (s *Shop) rewrite() Event {
	p := s.any()
	p.describe(s.rng)
	return s.upsert(p)
}

func (s *Shop) newArticle() Event { return s.upsert(s.introduce()) }

// introduce puts an article on sale.
func (s *Shop) introduce() *product {
	p := newProduct(s.rng, fmt.Sprintf("p-%05d", s.articles), s.rng.IntN(len(categories)))
	s.articles++
	s.products = append(s.products, p)
	t := topic{p.category, p.kind}
	s.byTopic[t] = append(s.byTopic[t], p)
	return p
}

// minProducts are kept on sale, whatever is discontinued.
const minProducts = 2

// discontinue takes an article off sale.
func (s *Shop) discontinue() Event {
	if len(s.products) <= minProducts {
		return s.newArticle()
	}
	i := 1 + s.rng.IntN(len(s.products)-1)
	p := s.products[i]
	s.products = remove(s.products, i)
	t := topic{p.category, p.kind}
	for j, q := range s.byTopic[t] {
		if q == p {
			s.byTopic[t] = remove(s.byTopic[t], j)
			break
		}
	}
	e := s.event(Products, p.id)
	e.Op = "delete"
	return e
}

// remove takes an element out of a slice whose order does not matter.
func remove[T any](from []T, i int) []T {
	last := len(from) - 1
	from[i] = from[last]
	return from[:last]
}
