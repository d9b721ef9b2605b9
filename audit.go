package freshet

// Difference is one disagreement that an audit found.
type Difference struct {
	Part   string // what was compared: "raw→vector.sync", "vector.sync→documents", "…→vectors", "…→filters", "graph"
	Kind   string // "missing", "extra", "stale" or "damaged"
	Key    Key    // of the entity, as far as known
	Detail string
}

// AuditGap are events that were deleted before any audit could take them in. Audits begin with what stood in vector.sync
// afterwards, when all below Until was decided: they find no difference that was there then.
type AuditGap struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from"`
	To        int64 `json:"to"` // not included
	Until     int64 `json:"until"`
	At        int64 `json:"at"` // ms
}

// AuditReport is what an audit found.
type AuditReport struct {
	Through     int64 // events.raw was folded up to this offset
	Records     int64 // of events.raw
	Entities    int64 // live ones in vector.sync
	Tombstones  int64
	Points      int64
	DeadLetters int64 // records of events.raw whose fold gives a dead letter
	// Differences holds the first ones; Found counts all.
	Differences []Difference
	Found       int64
	Repaired    int64 // of a repair: entities and indexes that were written again
	// Covers are the partitions that were folded, of so many, where each is decided by itself: those of other processes are not among
	// them. Partitions is 0 where all is decided in one order.
	Covers     []int32
	Partitions int
	Others     []string // addresses of processes that may decide the others
	// Gaps are what no audit can tell any more, at most one of each partition.
	Gaps []AuditGap
	// Each, if it is not nil, is called for every difference.
	Each func(Difference)
}

// Whole reports whether nothing was left out.
func (r *AuditReport) Whole() bool { return len(r.Covers) == r.Partitions }

// Clean reports whether nothing disagrees.
func (r *AuditReport) Clean() bool { return r.Found == 0 }

// Note adds a difference; at most limit of them are kept.
func (r *AuditReport) Note(limit int, d Difference) {
	r.Found++
	if r.Each != nil {
		r.Each(d)
	}
	if len(r.Differences) < limit {
		r.Differences = append(r.Differences, d)
	}
}
