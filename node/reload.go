package node

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/source/files"
)

// settings are the configuration in force. They are never altered: a reload puts others in their place.
type settings struct {
	config.Config
	replaced chan struct{} // closed when others are in force
}

func newSettings(c config.Config) *settings { return &settings{c, make(chan struct{})} }

// config is the configuration in force; it must not be altered.
func (n *core) config() *config.Config { return &n.settings.Load().Config }

// reload is what a reload does besides what every node does. All of it is called with reloading held.
type reload struct {
	intake *source.Intake
	// remedy says why a key can't be taken over here, though other nodes can; nil or "" where it can.
	remedy  func(key string) string
	check   func(next config.Config) error                      // refuses what can't be taken over
	declare func(ctx context.Context, next config.Config) error // makes new collections
	apply   func(next config.Config)                            // before next is in force
	after   func(next config.Config)
}

// Reload reads the configuration anew and takes over what has changed, all of it or nothing. A *gateway.ReloadRefused names
// the keys that a running server can't take over. A call while another one runs waits for it.
//
// New collections come first: they alone can fail, and what is declared in the log can't be taken back. All else is
// replaced in memory.
func (n *Node) Reload(ctx context.Context) (gateway.ReloadReport, error) {
	return n.reload(ctx, reload{intake: n.intake,
		check:   func(next config.Config) error { return n.checkFolders(next.Sources.Files) },
		declare: n.declare,
		apply: func(next config.Config) {
			n.log.SetSegmentBytes(cmp.Or(n.opts.SegmentBytes, segmentBytes(next.Retention.Bytes)))
		},
		after: func(next config.Config) {
			if !n.opts.NoSources {
				n.watchFolders(next.Sources.Files)
			}
		}})
}

// Reload is that of a node on one machine, but for what Kafka does: the topics keep the retention that they have.
func (c *Cluster) Reload(ctx context.Context) (gateway.ReloadReport, error) {
	return c.reload(ctx, reload{intake: c.intake,
		remedy: func(key string) string {
			switch {
			case key == "retention.interval", key == "retention.tombstone_ttl":
				return ""
			case strings.HasPrefix(key, "retention."):
				return "set it for the topics events.raw and events.keyed with kafka-configs.sh, and restart the processes with it"
			case strings.HasPrefix(key, "sources."):
				return "set it back: folders are not watched where the log is in Kafka"
			}
			return ""
		},
		declare: func(_ context.Context, next config.Config) error { return c.declareNew(next, 0) }})
}

// reload is Reload for every node.
func (n *core) reload(ctx context.Context, r reload) (report gateway.ReloadReport, err error) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	if n.ctx.Err() != nil {
		return report, &freshet.Error{Code: freshet.CodeUnavailable, Message: "the server is stopping"}
	}
	report, err = n.takeOver(ctx, r)
	var refused *gateway.ReloadRefused
	switch {
	case errors.As(err, &refused):
		for _, k := range refused.Keys {
			n.opts.Logger.Warn("the configuration was not reloaded: a key can't be changed while the server runs", "key", k.Key, "old", k.Old, "new", k.New, "remedy", k.Remedy)
		}
	case err != nil:
		n.opts.Logger.Warn("the configuration was not reloaded, nothing was changed", "error", err)
	case len(report.Changed) == 0:
		n.opts.Logger.Info("the configuration was reloaded: nothing has changed")
	}
	for _, k := range report.Changed {
		n.opts.Logger.Info("the configuration was reloaded", "key", k.Key, "old", k.Old, "new", k.New)
	}
	return report, err
}

func (n *core) takeOver(ctx context.Context, r reload) (gateway.ReloadReport, error) {
	none := gateway.ReloadReport{Changed: []gateway.ReloadedKey{}}
	if n.opts.Read == nil {
		return none, &freshet.Error{Code: freshet.CodeInvalidField, Field: "config",
			Message: "the server runs without a configuration file, so there is none to read; start it with `freshet run --config FILE`"}
	}
	next, err := n.opts.Read()
	if err != nil {
		return none, &freshet.Error{Code: freshet.CodeInvalidField, Field: "config", Message: err.Error()}
	}
	report, err := compare(n.config(), &next, r.remedy)
	if err != nil {
		return none, err
	}
	index, collections, err := indexOptions(next)
	if err == nil && r.check != nil {
		err = r.check(next)
	}
	if err != nil {
		return none, &freshet.Error{Code: freshet.CodeInvalidField, Field: "config", Message: err.Error()}
	}
	if len(report.Changed) == 0 {
		return report, nil
	}
	if err := r.declare(ctx, next); err != nil {
		return none, err
	}
	if err := n.store.Configure(index, collections); err != nil {
		return none, err
	}
	r.intake.SetLimits(source.Limits(next.Limits))
	if r.apply != nil {
		r.apply(next)
	}
	old := n.settings.Swap(newSettings(next))
	close(old.replaced)
	if r.after != nil {
		r.after(next)
	}
	return report, nil
}

// compare returns what differs, or a *gateway.ReloadRefused. remedy, which may be nil, is that of a reload.
func compare(old, next *config.Config, remedy func(key string) string) (gateway.ReloadReport, error) {
	report := gateway.ReloadReport{Changed: []gateway.ReloadedKey{}}
	refused := &gateway.ReloadRefused{}
	for _, d := range config.Differences(*old, *next) {
		if d.Remedy == "" && remedy != nil {
			d.Remedy = remedy(d.Key)
		}
		if d.Remedy != "" {
			refused.Keys = append(refused.Keys, gateway.RefusedKey{Key: d.Key, Old: d.Old, New: d.New, Remedy: d.Remedy})
		}
		report.Changed = append(report.Changed, gateway.ReloadedKey{Key: d.Key, Old: d.Old, New: d.New})
	}
	if len(refused.Keys) > 0 {
		return report, refused
	}
	return report, nil
}

// declare makes the collections that are declared anew. It does so between two batches: a record below the position has been
// judged without them, and is so by every replay; one from it on will be judged with them.
func (n *Node) declare(ctx context.Context, next config.Config) error {
	if len(n.newCollections(next)) == 0 {
		return nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(n.ctx, func() { stop(context.Cause(n.ctx)) })()
	return n.processor.Between(ctx, func() error {
		since, err := n.log.Position(process.Group, freshet.TopicRaw, 0)
		if err != nil {
			return err
		}
		return n.declareNew(next, since)
	})
}

// newCollections are the collections that are not declared yet.
func (n *core) newCollections(next config.Config) map[string]config.Collection {
	list := maps.Clone(next.Collections)
	maps.DeleteFunc(list, func(name string, _ config.Collection) bool {
		_, known := n.config().Collections[name]
		return known
	})
	return list
}

// declareNew makes them, for records from offset since on.
func (n *core) declareNew(next config.Config, since int64) error {
	next.Collections = n.newCollections(next)
	return n.catalog.Declare(declared(next, n.model, since)...)
}

// declared are the collections of a configuration as the catalog has them.
func declared(c config.Config, builtin freshet.Model, since int64) (list []control.Collection) {
	for _, name := range slices.Sorted(maps.Keys(c.Collections)) {
		col := c.Collections[name]
		d := control.Collection{Name: name, Dim: col.Dim, Metric: col.Metric, Origin: "config", Since: since,
			External: col.Source == config.SourceExternal}
		if col.Model == config.BuiltinModel {
			d.Model, d.Dim = builtin.Name, builtin.Dim
		}
		list = append(list, d)
	}
	return list
}

// watching is a watched folder.
type watching struct {
	config.Files
	stop func() // returns when it is watched no more
}

// checkFolders refuses folders that can't be watched, of those that are not watched yet.
func (n *Node) checkFolders(want []config.Files) error {
	for _, f := range want {
		if slices.ContainsFunc(n.config().Sources.Files, f.Equal) || n.opts.NoSources {
			continue
		}
		if err := n.fileOptions(f).Check(); err != nil {
			return err
		}
	}
	return nil
}

// watchFolders watches these folders and no others.
func (n *Node) watchFolders(want []config.Files) {
	var stay []watching
	for _, w := range n.sources {
		if slices.ContainsFunc(want, w.Equal) {
			stay = append(stay, w)
		} else {
			w.stop()
		}
	}
	n.sources = stay
	for _, f := range want {
		if slices.ContainsFunc(stay, func(w watching) bool { return w.Equal(f) }) {
			continue
		}
		ctx, cancel := context.WithCancel(n.ctx)
		done := make(chan struct{})
		n.run(ctx, "source files "+f.Path, func(ctx context.Context) error {
			defer close(done)
			return files.New(n.fileOptions(f)).Run(ctx)
		})
		n.sources = append(n.sources, watching{f, func() { cancel(); <-done }})
	}
}

func (n *Node) fileOptions(f config.Files) files.Options {
	return files.Options{Path: f.Path, Collection: f.Collection, Namespace: f.Namespace,
		MaxBytes: f.MaxBytes, Ignore: f.Ignore, Intake: n.intake, Log: n.log, Logger: n.opts.Logger}
}

// waitReloaded blocks while a reload is under way: it may start parts.
func (n *core) waitReloaded() {
	n.reloading.Lock()
	defer n.reloading.Unlock()
}
