package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// TopicID is what tells a topic from one of the same name that was deleted.
type TopicID [16]byte

// Topic is what Ensure found or made.
type Topic struct {
	Name       string
	ID         TopicID
	Partitions int
}

// A rule says which values of a setting are good.
type rule int

const (
	exactly rule = iota
	atLeast      // a number, of which -1 is the largest
	allOf        // a list of words, in any order
)

// setting is one of a topic.
type setting struct {
	name string
	want string
	rule rule
	// fixed settings are only looked at: they are what brokers do anyway, unless told otherwise.
	fixed bool
}

// Settings that are named in problems.
const (
	minInSync         = "min.insync.replicas"
	settingPartitions = "partitions"
)

// layout is what a topic has to be.
type layout struct {
	field      string // as [Options.Validate] names it
	name       string
	partitions int
	settings   []setting
}

func names(all []layout) []string {
	list := make([]string, len(all))
	for i, l := range all {
		list[i] = l.name
	}
	return list
}

// embedRetention is how long contents to embed and their vectors are kept: whoever waits for one that is gone asks again.
const embedRetention = time.Hour

// layouts are the topics of options with all defaults: those of the log, and those for embedding in processes of its own.
func (o Options) layouts() (log, embedding []layout) {
	common := []setting{
		{name: minInSync, want: strconv.Itoa(o.MinInSync), rule: atLeast},
		{name: "max.message.bytes", want: strconv.Itoa(o.MaxRecordBytes), rule: atLeast},
		// Else a broker that is behind could become leader, and what was acknowledged would be gone.
		{name: "unclean.leader.election.enable", want: "false", fixed: true},
	}
	retention, bytes := "-1", "-1"
	if o.RawRetention != Forever {
		retention = strconv.FormatInt(o.RawRetention.Milliseconds(), 10)
	}
	if o.RawBytes > 0 {
		bytes = strconv.FormatInt((o.RawBytes-1)/int64(o.Partitions)+1, 10)
	}
	kept := append(slices.Clone(common), setting{name: "cleanup.policy", want: "delete", rule: allOf},
		setting{name: "retention.ms", want: retention, rule: atLeast}, setting{name: "retention.bytes", want: bytes, rule: atLeast},
		// Else a producer's clock would say when its records are old: retention would take them at once, or never, and the time of
		// the dedupe window would be any.
		setting{name: "message.timestamp.type", want: "LogAppendTime"})
	compacted := append(slices.Clone(common), setting{name: "cleanup.policy", want: "compact", rule: allOf},
		setting{name: "delete.retention.ms", want: strconv.FormatInt(o.SyncDeleteRetention.Milliseconds(), 10), rule: atLeast})
	passing := append(slices.Clone(common), setting{name: "cleanup.policy", want: "delete", rule: allOf},
		setting{name: "retention.ms", want: strconv.FormatInt(embedRetention.Milliseconds(), 10), rule: atLeast})
	for _, n := range o.Topics.named() {
		l := layout{field: n.field, name: n.name, partitions: o.Partitions, settings: compacted}
		switch n.name {
		case o.Topics.Raw, o.Topics.Keyed:
			l.settings = kept
		case o.Topics.Control:
			l.partitions = 1
		case o.Topics.Requests, o.Topics.Results:
			l.settings = passing
			embedding = append(embedding, l)
			continue
		}
		log = append(log, l)
	}
	return log, embedding
}

// Problem is a setting of a topic that would lose data later.
type Problem struct {
	Topic, Setting, Found, Wanted string
	Remedy                        string // a command, or what to do
}

// LayoutError lists all that is wrong with the topics.
type LayoutError struct{ Problems []Problem }

// Error is a line for each problem.
func (e *LayoutError) Error() string {
	var b strings.Builder
	b.WriteString("kafka: the topics are not as they have to be:")
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n  %s: %s is %s, wanted %s: %s", p.Topic, p.Setting, p.Found, p.Wanted, p.Remedy)
	}
	return b.String()
}

// Ensure makes the topics that are missing and checks those that are there, by the names of the fields of Topics ("raw", "keyed",
// "sync", "dead", "state", "control"). Settings that would lose data later are one *LayoutError; what is safer than
// was asked for (more replicas, longer retention) is accepted. Several processes may call it at the same time. Whether
// a topic is the one that it was is for the caller to compare, by its ID.
func (c *Client) Ensure(ctx context.Context) (map[string]Topic, error) {
	log, _ := c.opts.layouts()
	topics, bad, err := c.survey(ctx, log)
	if err == nil && len(bad) > 0 {
		err = &LayoutError{bad}
	}
	if err != nil {
		return nil, err
	}
	return topics, nil
}

// EnsureEmbedding does that for the topics "requests" and "results". They hold nothing that can't be asked for again, so whether they are those
// that they were does not matter, and to a log that has got more partitions they are fitted.
func (c *Client) EnsureEmbedding(ctx context.Context) error {
	_, embedding := c.opts.layouts()
	topics, bad, err := c.survey(ctx, embedding)
	if err != nil {
		return err
	}
	for _, t := range topics {
		if t.Partitions >= c.opts.Partitions {
			continue
		}
		grown, err := c.admin.UpdatePartitions(ctx, c.opts.Partitions, t.Name)
		if err = errors.Join(err, grown.Error()); err != nil && !errors.Is(err, kerr.InvalidPartitions) { // another process was faster
			return fmt.Errorf("kafka: give topic %s %d partitions: %w; the user needs the right Alter on it", t.Name, c.opts.Partitions, err)
		}
	}
	bad = slices.DeleteFunc(bad, func(p Problem) bool { return p.Setting == settingPartitions })
	if len(bad) > 0 {
		return &LayoutError{bad}
	}
	return nil
}

// survey makes the topics that are missing, and says what all are like and what is wrong with them.
func (c *Client) survey(ctx context.Context, want []layout) (topics map[string]Topic, bad []Problem, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.ConnectTimeout)
	defer cancel()
	have, err := c.admin.ListTopics(ctx, names(want)...)
	if err != nil {
		return nil, nil, fmt.Errorf("kafka: list topics: %w", err)
	}
	if err := c.create(ctx, want, have); err != nil {
		return nil, nil, err
	}
	if have, err = c.settled(ctx, want); err != nil {
		return nil, nil, err
	}
	topics = map[string]Topic{}
	for _, l := range want {
		detail := have[l.name]
		topics[strings.TrimPrefix(l.field, "topics.")] = Topic{Name: l.name, ID: TopicID(detail.ID), Partitions: len(detail.Partitions)}
	}
	bad, err = c.problems(ctx, want, have)
	return topics, bad, err
}

// problems compares the topics that there are with what they have to be.
func (c *Client) problems(ctx context.Context, want []layout, have kadm.TopicDetails) (bad []Problem, err error) {
	found, err := c.settings(ctx, names(want)...)
	if err != nil {
		return nil, err
	}
	for _, l := range want {
		bad = append(bad, c.check(l, have[l.name], found[l.name])...)
	}
	return bad, nil
}

// unheard is how long a broker may not have heard of a topic that another one has listed. It may also have been deleted since.
const unheard = 10 * time.Second

// settings reads those of topics that there are: values by topic and name. Any broker may be asked, and one that has just started, or is slow, may not have
// heard of a topic yet.
func (c *Client) settings(ctx context.Context, topics ...string) (all map[string]map[string]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, unheard)
	defer cancel()
	for failures := 1; ; failures++ {
		if all, err = c.readSettings(ctx, topics); !errors.Is(err, kerr.UnknownTopicOrPartition) || !sleep(ctx, backoff(failures)) {
			return all, err
		}
	}
}

func (c *Client) readSettings(ctx context.Context, topics []string) (map[string]map[string]string, error) {
	configs, err := c.admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("kafka: read the settings of topics: %w", err)
	}
	all := map[string]map[string]string{}
	for _, topic := range topics {
		found, err := configs.On(topic, nil)
		if err = errors.Join(err, found.Err); err != nil {
			return nil, fmt.Errorf("kafka: read the settings of %s: %w; the user needs the right DescribeConfigs on it", topic, err)
		}
		values := map[string]string{}
		for _, s := range found.Configs {
			values[s.Key] = s.MaybeValue()
		}
		all[topic] = values
	}
	return all, nil
}

// create makes what is missing.
func (c *Client) create(ctx context.Context, want []layout, have kadm.TopicDetails) error {
	for _, l := range want {
		if d := have[l.name]; d.Err == nil && len(d.Partitions) > 0 {
			continue
		}
		configs := map[string]*string{}
		for _, s := range l.settings {
			if !s.fixed {
				configs[s.name] = &s.want
			}
		}
		made, err := c.admin.CreateTopics(ctx, int32(l.partitions), int16(c.opts.Replication), configs, l.name)
		if err == nil {
			err = made[l.name].Err
		}
		if err == nil {
			c.opts.Logger.Info("topic made", "topic", l.name, "partitions", l.partitions, "replication", c.opts.Replication)
		} else if !errors.Is(err, kerr.TopicAlreadyExists) { // another process was faster
			return fmt.Errorf("kafka: make topic %s: %w: %s; see that the cluster has %d brokers and that the user has the right Create, or make it by\n  %s",
				l.name, err, made[l.name].ErrMessage, c.opts.Replication, c.createCommand(l))
		}
	}
	return nil
}

// settled waits until the brokers know all topics and their leaders.
func (c *Client) settled(ctx context.Context, want []layout) (kadm.TopicDetails, error) {
	all := names(want)
	for failures := 1; ; failures++ {
		have, err := c.admin.ListTopics(ctx, all...)
		if err == nil {
			err = unsettled(have, all)
		}
		if err == nil {
			return have, nil
		}
		if errors.Is(err, kerr.TopicAuthorizationFailed) || !sleep(ctx, backoff(failures)) {
			return nil, fmt.Errorf("kafka: %w; see that the brokers run and that the user may read the topics", err)
		}
	}
}

func unsettled(have kadm.TopicDetails, names []string) error {
	for _, name := range names {
		d, ok := have[name]
		switch {
		case !ok || d.Err != nil:
			return fmt.Errorf("topic %s: %w", name, errors.Join(d.Err, kerr.UnknownTopicOrPartition))
		case d.ID == kadm.TopicID{}:
			return fmt.Errorf("topic %s has no id; Kafka 2.8 or newer is needed", name)
		}
		for _, p := range d.Partitions.Sorted() {
			if p.Leader < 0 {
				return fmt.Errorf("topic %s: partition %d has no leader", name, p.Partition)
			}
		}
	}
	return nil
}

// check compares a topic with what it has to be.
func (c *Client) check(l layout, d kadm.TopicDetail, values map[string]string) (bad []Problem) {
	add := func(setting, found, wanted, remedy string) {
		bad = append(bad, Problem{Topic: l.name, Setting: setting, Found: found, Wanted: wanted, Remedy: remedy})
	}
	if n := len(d.Partitions); n != l.partitions {
		remedy := fmt.Sprintf("set partitions to %d if the topics are all alike; or give the log %d: stop all processes, and then `freshet epoch raise --config FILE`", n, l.partitions)
		if l.partitions < n {
			remedy = fmt.Sprintf("set partitions to %d; if the log had fewer before, stop all processes, and then `freshet epoch raise --config FILE`", n)
		}
		if l.field == "topics.control" {
			remedy = "delete it, if nothing in it is needed, and it is made anew; else give topics.control another name"
		}
		add(settingPartitions, strconv.Itoa(n), strconv.Itoa(l.partitions), remedy)
	}
	replicas := fewestReplicas(d)
	if replicas < c.opts.Replication {
		add("replication", strconv.Itoa(replicas), strconv.Itoa(c.opts.Replication),
			fmt.Sprintf("add replicas with kafka-reassign-partitions.sh, or set replication to %d", replicas))
	}
	for _, s := range l.settings {
		is, known := values[s.name]
		if !known && s.fixed {
			continue
		}
		if !s.holds(is) {
			add(s.name, is, s.want, c.alterCommand(l.name, s))
		}
	}
	if n, err := strconv.Atoi(values[minInSync]); err == nil && n > replicas {
		add(minInSync, strconv.Itoa(n), fmt.Sprintf("at most %d, as many as there are replicas", replicas),
			c.alterCommand(l.name, setting{name: minInSync, want: strconv.Itoa(min(c.opts.MinInSync, replicas))}))
	}
	return bad
}

// fewestReplicas is the number of replicas of the partition that has the fewest: it is the first to lose data.
func fewestReplicas(d kadm.TopicDetail) int {
	fewest := math.MaxInt
	for _, p := range d.Partitions {
		fewest = min(fewest, len(p.Replicas))
	}
	return fewest
}

// holds reports whether a value is good.
func (s setting) holds(is string) bool {
	switch s.rule {
	case allOf:
		words := strings.FieldsFunc(is, func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(words)
		return strings.Join(slices.Compact(words), ",") == s.want
	case atLeast:
		n, err := strconv.ParseInt(is, 10, 64)
		want, bad := strconv.ParseInt(s.want, 10, 64)
		return err == nil && bad == nil && (n == -1 || want != -1 && n >= want)
	}
	return is == s.want
}

// alterCommand is the command of Kafka that sets a setting.
func (c *Client) alterCommand(topic string, s setting) string {
	return fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s=%s",
		c.opts.Brokers[0], topic, s.name, s.want)
}

// createCommand is the command of Kafka that makes a topic.
func (c *Client) createCommand(l layout) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions %d --replication-factor %d",
		c.opts.Brokers[0], l.name, l.partitions, c.opts.Replication)
	for _, s := range l.settings {
		if !s.fixed {
			fmt.Fprintf(&b, " --config %s=%s", s.name, s.want)
		}
	}
	return b.String()
}
