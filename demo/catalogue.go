package demo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// product is one article of the shop.
type product struct {
	id       string
	category int // of categories
	kind     int
	use      int
	brand    string
	name     string
	about    string
	colour   string
	price    float64
	stock    int
	rating   float64
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// newProduct makes up an article of a category.
func newProduct(rng *rand.Rand, id string, cat int) *product {
	c := &categories[cat]
	p := &product{id: id, category: cat, kind: rng.IntN(len(c.kinds)), use: rng.IntN(len(c.uses)), colour: pick(rng, colours),
		brand: pick(rng, brandHeads) + pick(rng, brandTails), stock: rng.IntN(120), rating: 3 + float64(rng.IntN(21))/10}
	k := c.kinds[p.kind]
	p.name = fmt.Sprintf("%s %s %s", p.brand, pick(rng, lines), k.noun)
	p.price = roundPrice(k.price * math.Exp(0.35*rng.NormFloat64()))
	p.describe(rng)
	return p
}

// describe writes the article's text anew.
func (p *product) describe(rng *rand.Rand) {
	c := &categories[p.category]
	what := upperFirst(pick(rng, c.traits)) + " " + c.kinds[p.kind].noun
	p.about = fmt.Sprintf(pick(rng, openings), what, pick(rng, c.materials), pick(rng, c.features)) + " " +
		fmt.Sprintf(pick(rng, closings), c.uses[p.use])
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// roundPrice gives a price of at least 5 that ends as prices do.
func roundPrice(v float64) float64 {
	if v = max(5, v); v < 100 {
		return math.Floor(v) + 0.9
	}
	return math.Round(v/5)*5 - 1
}

// payload is the article as the shop's own system would send it: the text is embedded, the
// rest is metadata.
func (p *product) payload() productPayload {
	return productPayload{Text: p.name + ". " + p.about, Name: p.name, Category: categories[p.category].name, Brand: p.brand,
		Colour: p.colour, Price: p.price, Stock: p.stock, Rating: p.rating}
}

type productPayload struct {
	Text     string  `json:"text"`
	Name     string  `json:"name"`
	Category string  `json:"category"`
	Brand    string  `json:"brand"`
	Colour   string  `json:"colour"`
	Price    float64 `json:"price"`
	Stock    int     `json:"stock"`
	Rating   float64 `json:"rating"`
}
