package gateway

import (
	_ "embed"
	"encoding/json"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/feed"
	"github.com/freshet-io/freshet/query"
	"github.com/freshet-io/freshet/query/fanout"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/telemetry"
)

//go:embed openapi.json
var openAPI []byte

// Options are the parts that the gateway serves.
type Options struct {
	Intake  *source.Intake
	Planner *query.Planner
	Catalog *control.Catalog
	Changes *feed.Feed
	Admin   Admin
	// Part answers other processes of a log that several share, for the partitions held here; nil where nobody asks.
	Part *Part
	// Refuse says what this process does not do.
	Refuse Refusals
	// Ready reports whether the server has caught up once since it started, and how many
	// records it is behind.
	Ready   func() (ok bool, lag int64)
	Metrics *prometheus.Registry
	Page    []byte // the page at /
	Version string
	Logger  *slog.Logger
}

// Part is what other processes ask for, by the id that they know this one by.
type Part struct {
	Node string
	fanout.Peer
}

// Refusals are the errors of routes whose role a process does not have. A nil one has it.
type Refusals struct {
	Events  func() error // events are taken in
	Decide  func() error // partitions are decided
	Indexes func() error // indexes are held
	Whole   func() error // there is a copy of all partitions
}

// unless answers with a refusal instead of h.
func (s *Server) unless(refusal func() error, h http.HandlerFunc) http.HandlerFunc {
	if refusal == nil {
		return h
	}
	return func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, refusal(), nil) }
}

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	opts     Options
	mux      *http.ServeMux
	metrics  metrics
	searches atomic.Int64      // answered with hits
	searchMs *telemetry.Recent // of those
	now      func() time.Time
}

// Searches of this recent past count in the figures of Live.
const (
	recentSearches = 4096
	recentPeriod   = 10 * time.Second
)

// NewBare returns a server with what every process answers: whether it runs and is ready, and its metrics. Of the options it needs
// Ready, Metrics and Logger.
func NewBare(o Options) *Server {
	s := &Server{opts: o, mux: http.NewServeMux(), metrics: newMetrics(o.Metrics),
		searchMs: telemetry.NewRecent(recentSearches, recentPeriod), now: time.Now}
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]string{"status": "ok"}) })
	s.mux.HandleFunc("GET /readyz", s.getReady)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))
	return s
}

// New returns a server.
func New(o Options) *Server {
	s := NewBare(o)
	refuse := o.Refuse
	s.route("POST /v1/events", s.unless(refuse.Events, s.postEvents))
	s.route("POST /v1/search", s.postSearch)
	s.route("POST /search", s.postSeedSearch)
	s.route("POST /embed", s.postEmbed)
	s.route("GET /v1/entities/{id...}", s.getEntity)
	s.route("DELETE /v1/entities/{id...}", s.unless(refuse.Events, s.deleteEntity))
	s.route("GET /v1/collections", s.getCollections)
	s.mux.HandleFunc("GET /v1/changes", s.unless(refuse.Whole, s.getChanges))     // not timed: it ends when the peer wants
	s.mux.HandleFunc("GET /v1/admin/export", s.unless(refuse.Whole, s.getExport)) // not timed: it ends when the peer has read it
	s.adminRoutes()
	s.indexRoutes()
	s.upkeepRoutes()
	s.internalRoutes()
	s.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openAPI)
	})
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
		_, _ = w.Write(o.Page)
	})
	return s
}

// entitiesPath is in front of entity ids, whose slashes need not be escaped.
const entitiesPath = "/v1/entities/"

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The mux would redirect "a//b" to "a/b", which is another entity.
	if p := r.URL.EscapedPath(); strings.HasPrefix(p, entitiesPath) {
		if clean := path.Clean(p); clean != p && clean+"/" != p {
			s.fail(w, r, invalid("entity_id", `stands in the path with an empty part, "." or ".."; escape its slashes as %2F`), nil)
			return
		}
	}
	if h, pattern := s.mux.Handler(r); pattern == "" {
		s.noRoute(w, r, h)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// route adds a handler whose requests are counted and timed under its pattern.
func (s *Server) route(pattern string, h http.HandlerFunc) {
	seconds := s.metrics.seconds.WithLabelValues(pattern)
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		start := s.now()
		h(w, r)
		seconds.Observe(s.now().Sub(start).Seconds())
	})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the peer has gone, if this fails
}

func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) {
	ok, lag := s.opts.Ready()
	w.Header().Set("Content-Type", "application/json")
	status := "ready"
	if !ok {
		status = "catching up"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "lag_records": lag})
}

type metrics struct {
	seconds  *prometheus.HistogramVec
	problems *prometheus.CounterVec
	accepted prometheus.Counter
	rejected *prometheus.CounterVec
	changes  prometheus.Counter
}

func newMetrics(r *prometheus.Registry) metrics {
	m := metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "freshet_http_request_seconds",
			Help: "Time from request to answer.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18)}, []string{"route"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "freshet_http_problems_total",
			Help: "Answers that were a problem document."}, []string{"code"}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{Name: "freshet_events_accepted_total",
			Help: "Events made durable and acknowledged over HTTP."}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "freshet_events_rejected_total",
			Help: "Events refused before they became durable."}, []string{"code"}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{Name: "freshet_changes_sent_total",
			Help: "Changes sent to those who follow them."}),
	}
	r.MustRegister(m.seconds, m.problems, m.accepted, m.rejected, m.changes)
	return m
}
