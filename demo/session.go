package demo

import (
	"fmt"
	"strings"
)

const (
	clicksKept  = 5  // of a session's clicks, in its text and metadata
	visitClicks = 30 // a session lasts this many clicks on average
	driftShare  = 8  // one click of so many turns to another topic
)

// session is one customer's visit.
type session struct {
	id     string
	topic  topic
	use    int // of the topic's category: what the customer wants it for
	clicks []*product
	total  int
}

func (s *Shop) newSession() *session {
	v := &session{id: fmt.Sprintf("s-%05d", s.visits)}
	s.visits++
	v.turn(s, s.rng.IntN(len(categories)))
	return v
}

// turn gives the session a new interest in a category.
func (v *session) turn(s *Shop, category int) {
	v.topic = topic{category, s.rng.IntN(len(categories[category].kinds))}
	v.use = s.rng.IntN(len(categories[category].uses))
}

// drift moves the interest: mostly to something that goes with it, now and then elsewhere.
func (v *session) drift(s *Shop) {
	category := v.topic.category
	if s.rng.IntN(3) == 0 {
		category = s.rng.IntN(len(categories))
	}
	v.turn(s, category)
}

// click is what a customer does next: look at a product, or leave; another comes then.
func (s *Shop) click() Event {
	i := s.rng.IntN(len(s.sessions))
	v := s.sessions[i]
	if v.total > 0 && s.rng.IntN(visitClicks) == 0 {
		s.sessions[i] = s.newSession()
		e := s.event(Sessions, v.id)
		e.Op = "delete"
		return e
	}
	if s.rng.IntN(driftShare) == 0 {
		v.drift(s)
	}
	p := s.any()
	if on := s.byTopic[v.topic]; len(on) > 0 {
		p = pick(s.rng, on)
	}
	v.total++
	if v.clicks = append(v.clicks, p); len(v.clicks) > clicksKept {
		v.clicks = v.clicks[1:]
	}
	e := s.event(Sessions, v.id)
	e.Payload = v.payload()
	return e
}

type clicked struct {
	EntityID string  `json:"entity_id"`
	Name     string  `json:"name"`
	Price    float64 `json:"price"`
}

type sessionPayload struct {
	Text       string    `json:"text"`
	Intent     string    `json:"intent"`
	Interest   string    `json:"interest"`
	Category   string    `json:"category"`
	Clicks     int       `json:"clicks"`
	LastClicks []clicked `json:"last_clicks"` // the latest first
}

// payload says what the session is about now: its interest, and what was looked at last.
func (v *session) payload() sessionPayload {
	c := &categories[v.topic.category]
	noun := c.kinds[v.topic.kind].noun
	p := sessionPayload{Intent: intents[min(len(intents)-1, v.total/clicksKept)], Interest: noun, Category: c.name, Clicks: v.total}
	var names []string
	for i := len(v.clicks) - 1; i >= 0; i-- {
		q := v.clicks[i]
		p.LastClicks = append(p.LastClicks, clicked{q.id, q.name, q.price})
		names = append(names, q.name)
	}
	p.Text = fmt.Sprintf("Interested in %s for %s. Looked at: %s.", noun, c.uses[v.use], strings.Join(names, ", "))
	return p
}
