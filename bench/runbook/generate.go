package runbook

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
)

// Generators are the names that Generate takes.
func Generators() []string {
	return []string{"sliding_window", "expiration", "clustered", "replace", "replace_random", "cluster_delete"}
}

// Turnover is how often the generated runbooks replace everything that is live, and partsPerTurn in how many steps each
// time.
const (
	Turnover     = 3
	partsPerTurn = 20
)

// Generate makes a runbook over rows rows:
//
//   - sliding_window: the window is a quarter of the rows; each step adds the next part and deletes the oldest.
//   - expiration: every part that arrives has a tenth that stays for good; the rest goes after 2, 10 or 30 steps.
//   - clustered: clusters grow one after the other, and lose half to nine tenths of what they have, oldest first: drift.
//   - replace: ids get new vectors of the cluster that they had one of.
//   - replace_random: ids get new vectors of another cluster.
//   - cluster_delete: whole clusters disappear at once, and come back with other vectors.
//
// The first search comes after a quarter of the rows has arrived; every vector is replaced about Turnover times.
func Generate(kind string, rows int, seed uint64) (*Runbook, error) {
	const fewest = 1024
	if rows < fewest || rows > maxRow {
		return nil, fmt.Errorf("runbook: %d rows: a runbook is made over %d to %d", rows, fewest, maxRow)
	}
	g := &generator{rows: rows, rng: rand.New(rand.NewPCG(seed, 1)), clusters: 16}
	r := &Runbook{Dataset: kind, Order: OrderShuffled}
	switch kind {
	case "sliding_window":
		g.slidingWindow()
	case "expiration":
		g.expiration()
	case "clustered", "replace", "replace_random", "cluster_delete":
		r.Order, r.Clusters = OrderClustered, g.clusters
		g.clustered(kind)
	default:
		return nil, fmt.Errorf("runbook: generator %q is not known: use one of %v", kind, Generators())
	}
	r.Steps = g.steps
	r.MaxPoints = rows
	if err := r.check(); err != nil {
		return nil, err
	}
	r.MaxPoints = r.mostLive()
	return r, nil
}

type generator struct {
	rows, clusters int
	rng            *rand.Rand
	steps          []Step
}

func (g *generator) add(op Op, start, end int) {
	if op == Search || start < end {
		g.steps = append(g.steps, Step{Op: op, Start: start, End: end})
	}
}

func (g *generator) slidingWindow() {
	window, parts := g.rows/(Turnover+1), Turnover*partsPerTurn
	g.add(Insert, 0, window)
	g.add(Search, 0, 0)
	at := func(i int) int { return i * (g.rows - window) / parts }
	for i := range parts {
		g.add(Insert, window+at(i), window+at(i+1))
		g.add(Delete, at(i), at(i+1))
		g.add(Search, 0, 0)
	}
}

// expiration starts with a quarter of the rows, as if they had come in so many parts before, and goes on with the rest.
func (g *generator) expiration() {
	parts := (Turnover + 1) * partsPerTurn
	at := func(i int) int { return i * g.rows / parts }
	expires := map[int][]span{}
	arrive := func(i int) {
		from, to := at(i), at(i+1)
		n := to - from
		kept := from + n/10
		cut := []int{kept, kept + n/10, kept + n/2, to} // a tenth lives long, two fifths medium, the rest short
		for j, life := range []int{30, 10, 2} {
			expires[i+life] = append(expires[i+life], span{cut[j], cut[j+1]})
		}
		for _, s := range expires[i] {
			g.add(Delete, s.from, s.to)
		}
	}
	g.add(Insert, 0, at(partsPerTurn))
	for i := range partsPerTurn {
		arrive(i)
	}
	g.add(Search, 0, 0)
	for i := partsPerTurn; i < parts; i++ {
		g.add(Insert, at(i), at(i+1))
		arrive(i)
		g.add(Search, 0, 0)
	}
}

// share returns the rows of share j of a cluster, of Turnover+1 equal ones.
func (g *generator) share(cluster, j int) span {
	from, to := cluster*g.rows/g.clusters, (cluster+1)*g.rows/g.clusters
	n := (to - from) / (Turnover + 1)
	return span{from + j*n, from + (j+1)*n}
}

// clustered makes the runbooks over clusters. All begin with the first share of every cluster.
func (g *generator) clustered(kind string) {
	for c := range g.clusters {
		s := g.share(c, 0)
		g.add(Insert, s.from, s.to)
	}
	g.add(Search, 0, 0)
	switch kind {
	case "clustered":
		g.drift()
	case "cluster_delete":
		g.wholeClusters()
	default:
		g.replace(kind == "replace_random")
	}
}

// drift lets clusters grow by a share and lose 50 to 90 % of what they have, oldest first, in a new order every round.
func (g *generator) drift() {
	live := make([]span, g.clusters)
	for c := range live {
		live[c] = g.share(c, 0)
	}
	for round := 1; round <= Turnover; round++ {
		for _, c := range g.rng.Perm(g.clusters) {
			s := g.share(c, round)
			g.add(Insert, s.from, s.to)
			live[c].to = s.to
			g.add(Search, 0, 0)
			n := int(float64(live[c].to-live[c].from) * (0.5 + 0.4*g.rng.Float64()))
			g.add(Delete, live[c].from, live[c].from+n)
			live[c].from += n
			g.add(Search, 0, 0)
		}
	}
}

func (g *generator) wholeClusters() {
	for round := 1; round <= Turnover; round++ {
		for _, c := range g.rng.Perm(g.clusters) {
			old, next := g.share(c, round-1), g.share(c, round)
			g.add(Delete, old.from, old.to)
			g.add(Search, 0, 0)
			g.add(Insert, next.from, next.to)
			g.add(Search, 0, 0)
		}
	}
}

// replace gives the ids of a cluster new vectors: of the same cluster, or of another one.
func (g *generator) replace(random bool) {
	for round := 1; round <= Turnover; round++ {
		source := make([]int, g.clusters)
		for c := range source {
			source[c] = c
		}
		if random {
			source = g.rng.Perm(g.clusters)
		}
		for _, c := range g.rng.Perm(g.clusters) {
			ids, from := g.share(c, 0), g.share(source[c], round)
			g.steps = append(g.steps, Step{Op: Replace, Start: ids.from, End: ids.from + from.to - from.from, From: from.from})
			g.add(Search, 0, 0)
		}
	}
}

// mostLive returns the largest number of ids that are live at once.
func (r *Runbook) mostLive() (most int) {
	live := 0
	for _, s := range r.Steps {
		switch s.Op {
		case Insert:
			live += s.End - s.Start
		case Delete:
			live -= s.End - s.Start
		}
		most = max(most, live)
	}
	return most
}

// Write writes r as YAML, in the order of its steps.
func (r *Runbook) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n  max_pts: %d\n", r.Dataset, r.MaxPoints)
	if r.Order != OrderKept {
		fmt.Fprintf(&b, "  order: %s\n", r.Order)
	}
	if r.Clusters > 0 {
		fmt.Fprintf(&b, "  clusters: %d\n", r.Clusters)
	}
	for i, s := range r.Steps {
		fmt.Fprintf(&b, "  %d:\n    operation: %q\n", i+1, s.Op)
		switch s.Op {
		case Insert, Delete:
			fmt.Fprintf(&b, "    start: %d\n    end: %d\n", s.Start, s.End)
		case Replace:
			fmt.Fprintf(&b, "    tags_start: %d\n    tags_end: %d\n    ids_start: %d\n    ids_end: %d\n", s.Start, s.End, s.From, s.From+s.End-s.Start)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Operations counts the steps by operation, for people.
func (r *Runbook) Operations() string {
	count := map[Op]int{}
	for _, s := range r.Steps {
		count[s.Op]++
	}
	var parts []string
	for _, op := range []Op{Insert, Delete, Replace, Search} {
		if count[op] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[op], op))
		}
	}
	return strings.Join(slices.Clip(parts), ", ")
}
