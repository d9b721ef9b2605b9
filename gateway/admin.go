package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/backup"
)

// Admin is what the admin routes can do. The server is put together elsewhere.
type Admin struct {
	Shards      func() []ShardStat
	Audit       func(ctx context.Context) (*freshet.AuditReport, error)
	Repair      func(ctx context.Context) (*freshet.AuditReport, error) // what is left after it
	DeadLetters func(q LettersQuery) ([]freshet.DeadLetter, error)
	Replay      func(ctx context.Context, q LettersRequest) (LettersResult, error)
	Drop        func(ctx context.Context, q LettersRequest) (LettersResult, error)
	Snapshot    func(ctx context.Context) (written int, err error)
	Pause       func()
	Resume      func()
	Live        func() Live
	Index       IndexAdmin
	Upkeep      UpkeepAdmin
	Backup      func(ctx context.Context, w io.Writer, o backup.Options) (*backup.Manifest, error)
}

// ShardStat is the size of one namespace of one collection.
type ShardStat struct {
	Collection string `json:"collection"`
	Namespace  string `json:"namespace"`
	Entities   int    `json:"entities"`
	Tombstones int    `json:"tombstones"`
	Points     int    `json:"points"`
	InGraph    int    `json:"in_graph"`
	InBuffer   int    `json:"in_buffer"`
	Bytes      int64  `json:"bytes"`
}

// Live is the pipeline's running totals and present figures.
type Live struct {
	Now         int64            `json:"now"`    // ms
	UptimeMs    int64            `json:"uptime"` // ms
	Accepted    int64            `json:"accepted"`
	Decided     int64            `json:"decided"`
	LagRecords  int64            `json:"lag_records"`
	Outcomes    map[string]int64 `json:"outcomes"`
	Entities    int64            `json:"entities"`
	Points      int64            `json:"points"`
	InBuffer    int64            `json:"in_buffer"`
	Searches    int64            `json:"searches"`
	DeadLetters int64            `json:"dead_letters"`
	FreshnessMs Quantiles        `json:"freshness_ms"` // acceptance to searchable, recent
	SearchMs    Quantiles        `json:"search_ms"`    // recent
	StageNs     map[string]int64 `json:"stage_ns"`     // time spent, total
	Paused      bool             `json:"paused"`
}

// Quantiles of recent values, in milliseconds; nil when there are none.
type Quantiles struct {
	P50 *float64 `json:"p50"`
	P99 *float64 `json:"p99"`
}

const (
	livePeriod      = 500 * time.Millisecond
	maxDeadLetters  = 1000
	deadLetterBytes = 1 << 20 // of an event's text that an answer shows
)

func (s *Server) adminRoutes() {
	refuse := s.opts.Refuse
	s.route("POST /v1/admin/audit", s.postAudit(s.opts.Admin.Audit))
	s.route("POST /v1/admin/repair", s.postAudit(s.opts.Admin.Repair))
	s.route("GET /v1/admin/dlq", s.unless(refuse.Whole, s.getDeadLetters))
	s.route("POST /v1/admin/dlq/replay", s.unless(refuse.Whole, s.postLetters(s.opts.Admin.Replay)))
	s.route("POST /v1/admin/dlq/drop", s.unless(refuse.Whole, s.postLetters(s.opts.Admin.Drop)))
	s.route("POST /v1/admin/snapshot", s.unless(refuse.Indexes, func(w http.ResponseWriter, r *http.Request) {
		n, err := s.opts.Admin.Snapshot(r.Context())
		if err != nil {
			s.fail(w, r, err, nil)
			return
		}
		reply(w, map[string]int{"written": n})
	}))
	s.route("POST /v1/admin/pause", s.unless(refuse.Decide, func(w http.ResponseWriter, _ *http.Request) {
		s.opts.Admin.Pause()
		reply(w, map[string]bool{"paused": true})
	}))
	s.route("POST /v1/admin/resume", s.unless(refuse.Decide, func(w http.ResponseWriter, _ *http.Request) {
		s.opts.Admin.Resume()
		reply(w, map[string]bool{"paused": false})
	}))
	s.route("GET /v1/admin/shards", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"shards": s.opts.Admin.Shards()})
	})
	s.route("GET /v1/admin/stats", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.live()) })
	s.mux.HandleFunc("GET /v1/admin/live", s.getLive)
	s.mux.HandleFunc("POST /v1/admin/backup", s.postBackup) // not timed: it takes as long as the peer reads
}

// AuditDocument is an audit report as the API gives it.
type AuditDocument struct {
	Clean       bool              `json:"clean"`
	Whole       bool              `json:"whole"` // false where partitions that other processes decide are left out
	Through     int64             `json:"through"`
	Records     int64             `json:"records"`
	Entities    int64             `json:"entities"`
	Tombstones  int64             `json:"tombstones"`
	Points      int64             `json:"points"`
	DeadLetters int64             `json:"dead_letters"`
	Found       int64             `json:"found"`
	Repaired    int64             `json:"repaired"` // by a repair; the rest is what it left
	Differences []AuditDifference `json:"differences"`
	Covers      []int32           `json:"covers,omitempty"`     // in Kafka: the partitions that were folded
	Partitions  int               `json:"partitions,omitempty"` // of so many
	Others      []string          `json:"others,omitempty"`     // where not whole: addresses of processes that may decide the rest
	// Gaps are, in Kafka, events that were deleted before an audit could take them in, by partition.
	Gaps []freshet.AuditGap `json:"gaps,omitempty"`
}

// AuditDifference is one disagreement of an AuditDocument.
type AuditDifference struct {
	Part       string `json:"part"`
	Kind       string `json:"kind"`
	Collection string `json:"collection"`
	Namespace  string `json:"namespace"`
	EntityID   string `json:"entity_id"`
	Detail     string `json:"detail"`
}

// DocumentAudit gives a report the form of the API.
func DocumentAudit(r *freshet.AuditReport) AuditDocument {
	d := AuditDocument{Clean: r.Clean(), Whole: r.Whole(), Covers: r.Covers, Partitions: r.Partitions, Others: r.Others, Gaps: r.Gaps, Through: r.Through, Records: r.Records, Entities: r.Entities, Tombstones: r.Tombstones,
		Points: r.Points, DeadLetters: r.DeadLetters, Found: r.Found, Repaired: r.Repaired, Differences: []AuditDifference{}}
	for _, x := range r.Differences {
		d.Differences = append(d.Differences, AuditDifference{x.Part, x.Kind, x.Key.Collection, x.Key.Namespace, x.Key.Entity, x.Detail})
	}
	return d
}

// postAudit answers with what the audit found; that something differs is no error of the
// request.
func (s *Server) postAudit(audit func(context.Context) (*freshet.AuditReport, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		report, err := audit(r.Context())
		if err != nil {
			s.fail(w, r, err, nil)
			return
		}
		reply(w, DocumentAudit(report))
	}
}

// deadLetter is a dead letter as the API shows it.
type deadLetter struct {
	Topic      string          `json:"topic"`
	Partition  int32           `json:"partition"`
	Offset     int64           `json:"offset"`
	Ordinal    int             `json:"ordinal"`
	Stage      string          `json:"stage"`
	Class      freshet.Code    `json:"class"`
	Message    string          `json:"message"`
	Attempts   int             `json:"attempts"`
	At         string          `json:"at"`
	Collection string          `json:"collection,omitempty"`
	Namespace  string          `json:"namespace,omitempty"`
	EntityID   string          `json:"entity_id,omitempty"`
	EventID    string          `json:"event_id,omitempty"`
	Source     string          `json:"source,omitempty"`
	Event      json.RawMessage `json:"event,omitempty"` // the event, where it is JSON
	Bytes      int             `json:"bytes"`
}

// getDeadLetters lists dead letters from an offset of events.raw on, or from it backwards.
func (s *Server) getDeadLetters(w http.ResponseWriter, r *http.Request) {
	q, err := lettersQuery(r.URL.Query())
	var letters []freshet.DeadLetter
	if err == nil {
		letters, err = s.opts.Admin.DeadLetters(q)
	}
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	out := make([]deadLetter, 0, len(letters))
	for i := range letters {
		out = append(out, deadLetterOf(&letters[i]))
	}
	reply(w, map[string]any{"dead_letters": out})
}

func lettersQuery(values url.Values) (q LettersQuery, err error) {
	q.Limit = 100
	order := values.Get("order")
	if order != "" && order != "asc" && order != "desc" {
		return q, invalid("order", fmt.Sprintf("is %.40q, must be asc or desc", order))
	}
	q.Back = order == "desc"
	for field, to := range map[string]**int64{"from": &q.From, "offset": &q.Offset} {
		if v := values.Get(field); v != "" {
			offset, err := strconv.ParseInt(v, 10, 64)
			if err != nil || offset < 0 {
				return q, invalid(field, fmt.Sprintf("is %q, must be an offset >= 0", v))
			}
			*to = &offset
		}
	}
	if q.From != nil && q.Offset != nil {
		return q, invalid("offset", "stands beside from; give one of the two")
	}
	if v := values.Get("partition"); v != "" {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n < 0 {
			return q, invalid("partition", fmt.Sprintf("is %q, must be a number >= 0", v))
		}
		partition := int32(n)
		q.Partition = &partition
	}
	if v := values.Get("limit"); v != "" {
		if q.Limit, err = strconv.Atoi(v); err != nil || q.Limit < 1 || q.Limit > maxDeadLetters {
			return q, invalid("limit", fmt.Sprintf("is %q, must be 1 to %d", v, maxDeadLetters))
		}
	}
	return q, nil
}

func deadLetterOf(l *freshet.DeadLetter) deadLetter {
	d := deadLetter{Topic: l.Position.Topic, Partition: l.Position.Partition, Offset: l.Position.Offset, Ordinal: l.Ordinal,
		Stage: l.Stage, Class: l.Class, Message: l.Message, Attempts: l.Attempts,
		At:         timeString(l.At),
		Collection: l.Key.Collection, Namespace: l.Key.Namespace, EntityID: l.Key.Entity, EventID: l.EventID,
		Source: l.Source, Bytes: len(l.Value)}
	if json.Valid(l.Value) && utf8.Valid(l.Value) && len(l.Value) <= deadLetterBytes {
		d.Event = l.Value
	}
	return d
}

// live is the pipeline's figures with those of the searches, which only the gateway sees.
func (s *Server) live() Live {
	l := s.opts.Admin.Live()
	l.Searches = s.searches.Load()
	if q, ok := s.searchMs.Quantiles(0.5, 0.99); ok {
		p50, p99 := float64(q[0].Microseconds())/1000, float64(q[1].Microseconds())/1000
		l.SearchMs = Quantiles{P50: &p50, P99: &p99}
	}
	return l
}

// getLive streams the pipeline's figures as server-sent events.
func (s *Server) getLive(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	flush := http.NewResponseController(w).Flush
	tick := time.NewTicker(livePeriod)
	defer tick.Stop()
	for {
		data, err := json.Marshal(s.live())
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil || flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
