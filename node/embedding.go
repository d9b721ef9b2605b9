package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/embed"
	"github.com/freshet-io/freshet/gateway"
)

// openEmbedding makes what asks for vectors, and what makes them for others, where that goes through Kafka.
func (c *Cluster) openEmbedding(ctx context.Context) (err error) {
	cfg := c.opts.Config
	if cfg.Embed.Workers != config.EmbedByTopic {
		return nil
	}
	if err := c.client.EnsureEmbedding(ctx); err != nil {
		return err
	}
	if cfg.Has(config.RoleEmbed) {
		if c.embedWorker, err = c.client.NewEmbedWorker(c.embedders); err != nil {
			return err
		}
	}
	if cfg.Has(config.RoleProcess) {
		if c.asker, err = c.client.NewAsker(c.model, kafka.AskerOptions{}); err != nil {
			return err
		}
		c.sequencer.Embedders = map[string]freshet.Embedder{c.model.Name: c.asker}
	}
	return nil
}

// registerEmbedding adds the metrics of embedding through Kafka, of what this process does of it.
func (c *Cluster) registerEmbedding() {
	if c.asker != nil {
		registerAsker(c.metrics, &c.asker.Stats)
	}
	if c.embedWorker != nil {
		registerEmbedWorker(c.metrics, &c.embedWorker.Stats)
	}
}

func registerAsker(to *prometheus.Registry, s *kafka.AskerStats) {
	waited := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "freshet_embed_wait_seconds",
		Help: "How long requests to embed workers waited for their answer.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)})
	s.Waited = func(d time.Duration) { waited.Observe(d.Seconds()) }
	to.MustRegister(waited,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "freshet_embed_in_flight", Help: "Requests to embed workers that wait for their answer."},
			func() float64 { return float64(s.InFlight.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "freshet_embed_inputs_total", Help: "Inputs that embed workers have answered, since start."},
			func() float64 { return float64(s.Inputs.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "freshet_embed_asked_again_total", Help: "Requests that were sent to embed workers again, since start."},
			func() float64 { return float64(s.Again.Load()) }))
}

func registerEmbedWorker(to *prometheus.Registry, s *kafka.EmbedWorkerStats) {
	to.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "freshet_embed_worker_inputs_total", Help: "Inputs that this process has embedded for others, since start."},
			func() float64 { return float64(s.Inputs.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "freshet_embed_worker_requests_total", Help: "Requests that this process has answered, since start."},
			func() float64 { return float64(s.Requests.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "freshet_embed_worker_bad_total", Help: "Requests that can't be read, since start."},
			func() float64 { return float64(s.Bad.Load()) }))
}

// Embedder is a process that makes vectors for the others of a freshet on Kafka, and nothing else. It has no data folder.
type Embedder struct {
	client  *kafka.Client
	worker  *kafka.EmbedWorker
	gateway *gateway.Server
	logger  *slog.Logger
	stop    context.CancelFunc
	running sync.WaitGroup
	failed  chan error
}

// OpenEmbedder starts a process that makes vectors. It returns when it is a member of the workers' group or will be soon.
func OpenEmbedder(ctx context.Context, o Options) (*Embedder, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	options, err := kafkaOptions(o.Config, o.Logger)
	if err != nil {
		return nil, err
	}
	builtin, err := embed.NewBuiltin()
	if err != nil {
		return nil, err
	}
	e := &Embedder{logger: o.Logger, failed: make(chan error, 1)}
	if e.client, err = kafka.Open(ctx, options); err != nil {
		return nil, err
	}
	if err = e.client.EnsureEmbedding(ctx); err == nil {
		e.worker, err = e.client.NewEmbedWorker(map[string]freshet.Embedder{builtin.Model().Name: builtin})
	}
	if err != nil {
		e.client.Close()
		return nil, err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registerEmbedWorker(metrics, &e.worker.Stats)
	e.gateway = gateway.NewBare(gateway.Options{Metrics: metrics, Logger: o.Logger, Version: o.Version, Ready: func() (bool, int64) { return true, 0 }})
	run, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.running.Go(func() {
		if err := e.worker.Run(run); err != nil {
			e.failed <- err
		}
	})
	return e, nil
}

// Gateway answers whether the process runs, and its metrics.
func (e *Embedder) Gateway() *gateway.Server { return e.gateway }

// Failed delivers the error that ended the worker; the process should be closed then.
func (e *Embedder) Failed() <-chan error { return e.failed }

// Reload refuses: there is nothing that a running worker could take over.
func (e *Embedder) Reload(context.Context) (gateway.ReloadReport, error) {
	err := notInKafka("reload of the configuration of an embed worker; start the process again")
	e.logger.Warn("the configuration was not reloaded", "error", err)
	return gateway.ReloadReport{}, err
}

// Close leaves the group, with what is done said.
func (e *Embedder) Close() error {
	e.stop()
	e.running.Wait()
	e.worker.Close()
	e.client.Close()
	return nil
}
