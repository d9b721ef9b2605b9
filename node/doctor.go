package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/wire"
)

// What doctor finds worth saying.
const (
	fewFiles       = 8192 // the state alone has up to 4096 open
	fewWatches     = 65536
	clockSlack     = 5 * time.Second
	lagWorthSaying = 10_000
	// memoryShare is how much of the memory that there is may be in use.
	memoryShare = 0.85
)

// checkup gathers what a look at a node finds.
type checkup struct {
	n      *core
	state  *broker.State
	intake *source.Intake
	live   func() gateway.Live
	short  string // what happens when the disk has no room
	list   []gateway.Finding
}

func (c *checkup) say(level, check, remedy, format string, args ...any) {
	c.list = append(c.list, gateway.Finding{Level: level, Check: check, Detail: fmt.Sprintf(format, args...), Remedy: remedy})
}

// Doctor looks at what goes wrong in practice, and says what to do about it. What is well has a finding too.
func (n *Node) Doctor(ctx context.Context) ([]gateway.Finding, error) {
	c := &checkup{n: &n.core, state: n.log.State, intake: n.intake, live: n.live, short: "events are refused with 507"}
	c.version()
	if err := c.disk(); err != nil {
		return nil, err
	}
	c.files()
	c.memory()
	if err := c.clock(ctx, n.log); err != nil {
		return nil, err
	}
	c.lastStop(n.log.StoppedCleanly())
	c.snapshots()
	c.pipeline(n.log.RawBytesFrom(n.tracker.Decided() + 1))
	c.recall()
	if err := c.retention(n); err != nil {
		return nil, err
	}
	return c.list, c.deadLetters(ctx, nil)
}

func (c *checkup) version() {
	epochs := c.n.catalog.Epochs()
	newest := epochs[len(epochs)-1]
	c.say(gateway.LevelOK, "version", "", "freshet %s, %s; data folder %s, format %d, log %s, epoch %d (%s)", c.n.opts.Version, runtime.Version(),
		c.state.Dir(), broker.FolderFormat, newest.Log, newest.Number, newest.Reason)
}

func (c *checkup) disk() error {
	free, err := c.state.DiskFree()
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	least := c.intake.Limits().FreeDiskBytes
	const remedy = "free space, enlarge the disk, or lower retention; `freshet compact` gives back what was replaced in the state"
	mb := func(n int64) int64 { return n >> 20 }
	switch {
	case c.state.DiskFull():
		c.say(gateway.LevelError, "disk", remedy, "the disk is full, the state waits for room: %s, searches go on; nothing is lost", c.short)
	case int64(free) < least:
		c.say(gateway.LevelError, "disk", remedy, "%d MiB are free, less than limits.free_disk_bytes (%d MiB): %s", mb(int64(free)), mb(least), c.short)
	case int64(free) < 4*least:
		c.say(gateway.LevelWarning, "disk", remedy, "%d MiB are free; below %d MiB (limits.free_disk_bytes) %s", mb(int64(free)), mb(least), c.short)
	default:
		c.say(gateway.LevelOK, "disk", "", "%d MiB are free", mb(int64(free)))
	}
	return nil
}

// files looks at the limits of the system, where it tells them.
func (c *checkup) files() {
	for line := range strings.Lines(read("/proc/self/limits")) {
		f := strings.Fields(line)
		if !strings.HasPrefix(line, "Max open files") || len(f) < 5 {
			continue
		}
		if n, err := strconv.Atoi(f[3]); err == nil && n < fewFiles {
			c.say(gateway.LevelWarning, "open files", "raise it: `ulimit -n 65536`, or LimitNOFILE=65536 for systemd", "the process may have %d files open", n)
		} else {
			c.say(gateway.LevelOK, "open files", "", "the process may have %s files open", f[3])
		}
	}
	if len(c.n.config().Sources.Files) == 0 {
		return
	}
	if n, err := strconv.Atoi(strings.TrimSpace(read("/proc/sys/fs/inotify/max_user_watches"))); err == nil && n < fewWatches {
		c.say(gateway.LevelWarning, "inotify", "sysctl fs.inotify.max_user_watches=524288", "%d folders can be watched by all processes of this user; the files source needs one each", n)
	}
}

// read returns the content of a file of the system, "" where there is none.
func read(path string) string {
	raw, _ := os.ReadFile(path)
	return string(raw)
}

func (c *checkup) memory() {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	used := sample[0].Value.Uint64() - sample[1].Value.Uint64()
	limit := uint64(0)
	for line := range strings.Lines(read("/proc/meminfo")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseUint(f[1], 10, 64)
			limit = kb << 10
		}
	}
	if n, err := strconv.ParseUint(strings.TrimSpace(read("/sys/fs/cgroup/memory.max")), 10, 64); err == nil && (limit == 0 || n < limit) {
		limit = n
	}
	switch {
	case limit == 0:
	case float64(used) > memoryShare*float64(limit):
		c.say(gateway.LevelWarning, "memory", "a smaller index (`freshet index rebuild --precision int8`, or --kind hnsw_disk), a smaller cache_bytes, or more memory",
			"the process uses %d MiB of %d MiB", used>>20, limit>>20)
	default:
		c.say(gateway.LevelOK, "memory", "", "the process uses %d MiB of %d MiB", used>>20, limit>>20)
	}
}

// clock compares the clock with the time of the newest record.
func (c *checkup) clock(ctx context.Context, log *broker.Log) error {
	end := log.RawEnd()
	if end <= log.RawFirst() {
		return nil
	}
	reader := log.ReadRaw(end - 1)
	defer reader.Close()
	last, err := reader.Next(ctx, nil, 1)
	if err != nil {
		return err
	}
	if ahead := time.UnixMilli(last[0].Time).Sub(c.n.now()); ahead > clockSlack {
		c.say(gateway.LevelWarning, "clock", "set it by NTP; the order of events does not depend on it, their age and the dedupe window do",
			"the newest event was accepted %s in the future: the clock was set back", ahead.Round(time.Second))
		return nil
	}
	c.say(gateway.LevelOK, "clock", "", "it is not behind the newest event")
	return nil
}

// lastStop says how the process before this one ended.
func (c *checkup) lastStop(clean bool) {
	if clean {
		c.say(gateway.LevelOK, "last stop", "", "it was clean")
	} else {
		c.say(gateway.LevelWarning, "last stop", "nothing is lost; look for the cause in the log of the system (out of memory, power), and stop with SIGTERM",
			"the process before this one was killed, or the power failed")
	}
}

// snapshots says how the indexes came up.
func (c *checkup) snapshots() {
	loaded := c.n.store.Loaded()
	if len(loaded.Rejected) > 0 {
		c.say(gateway.LevelWarning, "snapshots", "nothing is lost, the indexes were built from the table; `freshet verify` checks the rest of the disk",
			"%d snapshots could not be used at the start: %s", len(loaded.Rejected), strings.Join(loaded.Rejected[:min(3, len(loaded.Rejected))], "; "))
	} else {
		c.say(gateway.LevelOK, "snapshots", "", "%d were loaded at the start, none was rejected", loaded.Snapshots)
	}
}

// pipeline says how far it is behind; backlog is the bytes of events that wait, where they take room of this node.
func (c *checkup) pipeline(backlog int64) {
	l, most := c.live(), c.intake.Limits().BacklogBytes
	switch {
	case l.Paused:
		c.say(gateway.LevelError, "pipeline", "the log says which step fails; `POST /v1/admin/resume` ends a pause by hand", "processing or applying is paused, or retries; %d records wait", l.LagRecords)
	case backlog > most/2:
		c.say(gateway.LevelError, "pipeline", "slow producers down, or give more processors; at limits.backlog_bytes events are refused with 429",
			"%d records (%d MiB of %d MiB) are accepted and not decided", l.LagRecords, backlog>>20, most>>20)
	case l.LagRecords > lagWorthSaying:
		c.say(gateway.LevelWarning, "pipeline", "it is well while it shrinks; else slow producers down, or give more processors", "%d records are accepted and not decided", l.LagRecords)
	default:
		c.say(gateway.LevelOK, "pipeline", "", "%d records are accepted and not decided", l.LagRecords)
	}
}

func (c *checkup) recall() {
	well := true
	for _, r := range c.n.store.Recalls() {
		if r.Alert {
			well = false
			c.say(gateway.LevelWarning, "recall", "freshet index rebuild --m 32 --ef-construction 200, or a lower index.target_recall",
				"searches of %s/%s find %.3f of the true ten nearest, the target is %.3f and can't be reached", r.Shard.Collection, r.Shard.Namespace, r.Recall, r.Target)
		}
	}
	if well {
		c.say(gateway.LevelOK, "recall", "", "no index is below its target for good")
	}
}

// deadLetters counts them by class: those of some partitions, or all.
func (c *checkup) deadLetters(ctx context.Context, of func(partition int32) bool) error {
	classes := map[freshet.Code]int{}
	total := 0
	err := c.state.Scan(freshet.TopicDead, nil, nil, func(r broker.Record) error {
		l, err := wire.DecodeDeadLetter(r.Value)
		if err != nil {
			return err
		}
		if of == nil || of(l.Position.Partition) {
			classes[l.Class]++
			total++
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if total == 0 {
		c.say(gateway.LevelOK, "dead letters", "", "there are none")
		return nil
	}
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		parts = append(parts, fmt.Sprintf("%d %s", classes[class], class))
	}
	c.say(gateway.LevelWarning, "dead letters", "`freshet dlq list` names them; mend their events and send them again", "%d events could not be applied: %s", total, strings.Join(parts, ", "))
	return nil
}

// DoctorFolder is Doctor for the data folder of a stopped server, which it opens.
func DoctorFolder(ctx context.Context, o Options) ([]gateway.Finding, error) {
	if _, err := os.Stat(filepath.Join(o.Config.Data, "FORMAT")); err != nil {
		return nil, fmt.Errorf("%s is no data folder of freshet: %w", o.Config.Data, err)
	}
	o.NoSources = true
	n, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer n.Kill()
	return n.Doctor(ctx)
}
