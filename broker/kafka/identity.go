package kafka

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// identityKey is the key of the control record that says what the log is.
const identityKey = "log"

// The formats of the identity: the second since it knows of shifts. A log that was never laid out anew has the first.
const (
	identityFormat        = 1
	identityFormatShifted = 2
)

// identity is what the log was begun with. Tokens and copies name its id; offsets mean something only in the topics of these ids.
type identity struct {
	Format     int               `json:"format"`
	ID         string            `json:"id"`
	Partitions int               `json:"partitions"`
	Topics     map[string]string `json:"topics"` // default name → topic id, as Kafka writes it
	// Shifts are what is added to Kafka's offsets of each partition of events.keyed; see [Client.shift].
	Shifts []int64 `json:"shifts,omitempty"`
	// Former are the identities that the log had before, oldest first.
	Former []string `json:"former,omitempty"`
	// Next is the layout that the log is being given. Until that is done nobody else uses it.
	Next *nextLayout `json:"next,omitempty"`

	id freshet.LogID
}

// nextLayout is a layout that is begun and not finished.
type nextLayout struct {
	By         string            `json:"by"` // the command that does it
	ID         string            `json:"id"` // identity that the log gets with it
	Partitions int               `json:"partitions"`
	Topics     map[string]string `json:"topics"`
	// Ends are where the partitions of events.keyed end in the old layout; absent while it is drained.
	Ends []int64 `json:"ends,omitempty"`
	Done []byte  `json:"done,omitempty"` // how far it is written: a place of [Relayout.At]
}

func parseIdentity(value []byte) (i identity, err error) {
	if err := json.Unmarshal(value, &i); err != nil {
		return i, fmt.Errorf("control record %q is damaged: %w", identityKey, err)
	}
	if i.Format != identityFormat && i.Format != identityFormatShifted {
		return i, fmt.Errorf("control record %q has format %d, this version reads %d and %d", identityKey, i.Format, identityFormat, identityFormatShifted)
	}
	if i.id, err = wire.ParseLogID(i.ID); err != nil {
		return i, fmt.Errorf("control record %q is damaged: %w", identityKey, err)
	}
	return i, nil
}

var errNoIdentity = fmt.Errorf("control record %q is missing", identityKey)

// identity is that of the log, as the copy has it.
func (c *Copy) identity() (freshet.LogID, error) {
	r, ok, err := c.state.Latest(freshet.TopicControl, []byte(identityKey), nil)
	if err != nil {
		return freshet.LogID{}, err
	}
	if !ok {
		return freshet.LogID{}, errNoIdentity
	}
	i, err := parseIdentity(r.Value)
	return i.id, err
}

// String is the id as Kafka's tools write it.
func (t TopicID) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// Identity makes the topics that are missing and returns the identity of the log that is in them. Who is the first to find
// freshet.control empty gives the log its identity; of several at once all get the same.
//
// A *LayoutError lists topics that are not those that the log was begun with: such as were deleted and made again, or given
// more partitions. With them the records of an entity would be decided in two places, and positions would mean other records.
func (c *Client) Identity(ctx context.Context) (freshet.LogID, error) {
	topics, err := c.Ensure(ctx)
	if err != nil {
		return freshet.LogID{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.DeliveryTimeout)
	defer cancel()
	var have identity
	err = c.persist(ctx, func() error {
		have, err = c.identify(ctx, topics)
		return err
	})
	if err != nil {
		return have.id, fmt.Errorf("the identity of the log: %w", err)
	}
	if have.Next != nil {
		return have.id, fmt.Errorf("%s has begun to lay out log %s anew and was interrupted: run it again, with the same settings", have.Next.By, have.ID)
	}
	c.use(have)
	return have.id, c.compare(have, topics)
}

// use takes over what the log says of its offsets.
func (c *Client) use(i identity) {
	c.shifts, c.split = i.Shifts, len(i.Former) > 0
	c.former = nil
	for _, name := range i.Former {
		if id, err := wire.ParseLogID(name); err == nil {
			c.former = append(c.former, id)
		}
	}
}

// Former are the identities that the log had before the one it has; see [Client.Identity].
func (c *Client) Former() []freshet.LogID { return c.former }

// identify reads the identity, or writes it.
func (c *Client) identify(ctx context.Context, topics map[string]Topic) (identity, error) {
	end, err := c.controlEnd(ctx)
	if err != nil {
		return identity{}, err
	}
	if i, ok, err := c.readIdentity(ctx, end); ok || err != nil {
		return i, err
	}
	w, claim, err := c.takeControl(ctx)
	if err != nil {
		return identity{}, err
	}
	defer w.Close()
	if i, ok, err := c.readIdentity(ctx, claim+1); ok || err != nil {
		return i, err
	}
	if err := c.checkUnused(ctx); err != nil {
		return identity{}, err
	}
	i := identity{Format: identityFormat, Partitions: c.opts.Partitions, Topics: idsOf(topics)}
	if i.id, err = embedded.NewID(); err != nil {
		return i, lasting(err)
	}
	i.ID = wire.LogIDString(i.id)
	value, err := json.Marshal(i)
	if err != nil {
		return i, lasting(err)
	}
	_, err = w.commit(ctx, []broker.Record{{Key: []byte(identityKey), Value: value}})
	return i, err
}

// idsOf are the ids of topics by their default names.
func idsOf(topics map[string]Topic) map[string]string {
	ids := map[string]string{}
	for field, name := range defaultNames {
		ids[name] = topics[field].ID.String()
	}
	return ids
}

// readIdentity looks for the identity in what is committed below an offset.
func (c *Client) readIdentity(ctx context.Context, end int64) (i identity, ok bool, err error) {
	if end == 0 {
		return i, false, nil
	}
	err = c.readControl(ctx, 0, func(f Fetched) (bool, error) {
		for _, r := range f.Records {
			if string(r.Key) == identityKey {
				if i, err = parseIdentity(r.Value); err != nil {
					return true, lasting(err)
				}
				ok = true
			}
		}
		return f.Next >= end, nil
	})
	return i, ok && err == nil, err
}

// checkUnused refuses to give an identity to a log that had one.
func (c *Client) checkUnused(ctx context.Context) error {
	topic := c.opts.Topics.State
	ends, err := c.Ends(ctx, topic)
	if err != nil {
		return err
	}
	for p, end := range ends {
		if end > 0 {
			return lasting(fmt.Errorf("%s does not say what the log is, though partition %d of %s has been written to: it was deleted or emptied. "+
				"Restore it, or begin anew with another topics.prefix and group", c.opts.Topics.Control, p, topic))
		}
	}
	return nil
}

// defaultNames are the names by which the identity knows topics, whatever they are called: by the names of the fields of Topics.
var defaultNames = map[string]string{"raw": freshet.TopicRaw, "keyed": freshet.TopicKeyed, "sync": freshet.TopicSync,
	"dead": freshet.TopicDead, "state": freshet.TopicState, "control": freshet.TopicControl}

func remadeRemedy(field string) string {
	remedy := "it was deleted and made again, or topics." + field + " names another: set that back or restore the topic; or "
	if field == "control" {
		return remedy + "begin anew with another topics.prefix and group"
	}
	return remedy + "stop all processes, and then `freshet epoch raise --config FILE` goes on with what is there, and says what is lost"
}

// compare holds the topics to those that the log was begun with.
func (c *Client) compare(i identity, topics map[string]Topic) error {
	var bad LayoutError
	for _, field := range slices.Sorted(maps.Keys(topics)) {
		t := topics[field]
		if was := i.Topics[defaultNames[field]]; was != t.ID.String() {
			bad.Problems = append(bad.Problems, Problem{Topic: t.Name, Setting: "its id", Found: t.ID.String(), Wanted: was + ", as log " + i.ID + " was begun with",
				Remedy: remadeRemedy(field)})
		} else if field != "control" && t.Partitions != i.Partitions {
			bad.Problems = append(bad.Problems, Problem{Topic: t.Name, Setting: "partitions", Found: strconv.Itoa(t.Partitions),
				Wanted: strconv.Itoa(i.Partitions) + ", as log " + i.ID + " was begun with",
				Remedy: "it was given more; stop all processes, and then `freshet epoch raise --config FILE` takes the entities to their new partitions"})
		}
	}
	if len(bad.Problems) > 0 {
		return &bad
	}
	return nil
}
