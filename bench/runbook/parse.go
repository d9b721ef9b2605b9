package runbook

import (
	"fmt"
	"math"
	"strconv"

	"github.com/goccy/go-yaml"
)

// Op is what a step does.
type Op string

// The operations of a runbook.
const (
	Insert  Op = "insert"  // rows Start to End appear, each under its own number as its id
	Delete  Op = "delete"  // ids Start to End disappear
	Replace Op = "replace" // ids Start to End take the vectors of the rows From and following
	Search  Op = "search"  // all queries
)

// Step is one step of a runbook. Ranges are half open.
type Step struct {
	Op         Op
	Start, End int
	From       int // Replace: the row of the first id's new vector
}

// Order says in which order the rows of the data set must lie for a runbook to mean what it says.
type Order string

// Orders of rows.
const (
	OrderKept      Order = ""          // as they are: what foreign runbooks ask for
	OrderShuffled  Order = "shuffled"  // at random
	OrderClustered Order = "clustered" // by cluster, see dataset.Set.Cluster
)

// Runbook is a stream of changes and searches.
type Runbook struct {
	Dataset   string
	MaxPoints int // ids that are live at once, at most
	Rows      int // rows that the steps name
	Order     Order
	Clusters  int // of OrderClustered
	Steps     []Step
}

// Limits of a runbook.
const (
	maxFileBytes = 64 << 20
	maxSteps     = 1_000_000
	maxRow       = math.MaxInt32
)

// Parse reads a runbook: a mapping from the name of a data set to its steps, numbered from 1, beside max_pts. When the
// file has several data sets, name chooses; empty takes the only one. Keys order and clusters are an extension that
// other readers pass over. Everything is checked by a dry run: an insert of a live id, or a change of one that is not
// live, is an error that names the step.
func Parse(raw []byte, name string) (*Runbook, error) {
	if len(raw) > maxFileBytes {
		return nil, fmt.Errorf("runbook: %d bytes: at most %d are read", len(raw), maxFileBytes)
	}
	var sets map[string]map[string]any
	if err := yaml.Unmarshal(raw, &sets); err != nil {
		return nil, fmt.Errorf("runbook: %w", err)
	}
	if name == "" {
		if len(sets) != 1 {
			return nil, fmt.Errorf("runbook: the file has %d data sets: name one", len(sets))
		}
		for name = range sets {
		}
	}
	body, ok := sets[name]
	if !ok {
		return nil, fmt.Errorf("runbook: the file has no data set %q", name)
	}
	r := &Runbook{Dataset: name}
	if err := r.readHead(body); err != nil {
		return nil, err
	}
	for i := 1; ; i++ {
		entry, ok := body[strconv.Itoa(i)]
		if !ok {
			break
		}
		if i > maxSteps {
			return nil, fmt.Errorf("runbook: more than %d steps", maxSteps)
		}
		step, err := readStep(entry)
		if err != nil {
			return nil, fmt.Errorf("runbook: step %d: %w", i, err)
		}
		r.Steps = append(r.Steps, step)
	}
	return r, r.check()
}

func (r *Runbook) readHead(body map[string]any) (err error) {
	if r.MaxPoints, err = number(body, "max_pts"); err != nil {
		return fmt.Errorf("runbook: %w", err)
	}
	if v, ok := body["order"]; ok {
		r.Order = Order(fmt.Sprint(v))
	}
	switch r.Order {
	case OrderKept, OrderShuffled:
	case OrderClustered:
		if r.Clusters, err = number(body, "clusters"); err != nil {
			return fmt.Errorf("runbook: %w", err)
		}
	default:
		return fmt.Errorf("runbook: order %q is not known: use shuffled, clustered, or none", r.Order)
	}
	return nil
}

func readStep(entry any) (s Step, err error) {
	fields, ok := entry.(map[string]any)
	if !ok {
		return s, fmt.Errorf("a step is a mapping, not %T", entry)
	}
	s.Op = Op(fmt.Sprint(fields["operation"]))
	start, end := "start", "end"
	switch s.Op {
	case Search:
		return s, nil
	case Insert, Delete:
	case Replace:
		start, end = "tags_start", "tags_end"
		if s.From, err = number(fields, "ids_start"); err != nil {
			return s, err
		}
	default:
		return s, fmt.Errorf("operation %q is not known: use insert, delete, replace or search", s.Op)
	}
	if s.Start, err = number(fields, start); err != nil {
		return s, err
	}
	if s.End, err = number(fields, end); err != nil {
		return s, err
	}
	if s.End < s.Start {
		return s, fmt.Errorf("%s %d is below %s %d", end, s.End, start, s.Start)
	}
	if s.Op == Replace {
		to, err := number(fields, "ids_end")
		if err != nil {
			return s, err
		}
		if to-s.From != s.End-s.Start {
			return s, fmt.Errorf("%d ids are replaced by %d rows: there must be as many", s.End-s.Start, to-s.From)
		}
	}
	return s, nil
}

// number returns a field that must be a number of a row.
func number(fields map[string]any, name string) (int, error) {
	v, ok := fields[name]
	if !ok {
		return 0, fmt.Errorf("%s is missing", name)
	}
	n, err := strconv.Atoi(fmt.Sprint(v))
	if err != nil || n < 0 || n > maxRow {
		return 0, fmt.Errorf("%s is %v: it must be a number from 0 to %d", name, v, maxRow)
	}
	return n, nil
}

// check replays the steps on a set of ids, and finds the number of rows.
func (r *Runbook) check() error {
	if len(r.Steps) == 0 {
		return fmt.Errorf("runbook: data set %q has no steps: they are numbered from 1", r.Dataset)
	}
	live := ranges{}
	for i, s := range r.Steps {
		bad := -1
		switch s.Op {
		case Insert:
			bad = live.add(s.Start, s.End)
			r.Rows = max(r.Rows, s.End)
		case Delete:
			bad = live.remove(s.Start, s.End)
		case Replace:
			bad = live.missing(s.Start, s.End)
			r.Rows = max(r.Rows, s.From+s.End-s.Start)
		}
		if bad >= 0 {
			return fmt.Errorf("runbook: step %d: %s of id %d, which is %s", i+1, s.Op, bad, map[bool]string{true: "live already", false: "not live"}[s.Op == Insert])
		}
		if live.count > r.MaxPoints {
			return fmt.Errorf("runbook: step %d: %d ids are live: max_pts is %d", i+1, live.count, r.MaxPoints)
		}
	}
	return nil
}
