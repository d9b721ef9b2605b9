package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/freshet-io/freshet/wire"
)

// Roles of a process.
const (
	RoleSource  = "source"  // takes events in over HTTP
	RoleProcess = "process" // decides partitions, with the others of its group
	RoleQuery   = "query"   // holds indexes and answers searches from them
	RoleEmbed   = "embed"   // makes vectors for those that decide, where embed.workers is EmbedByTopic
)

// Roles are all of them. A process whose configuration names none has every one.
var Roles = []string{RoleSource, RoleProcess, RoleQuery, RoleEmbed}

// Has reports whether the process has a role.
func (c Config) Has(role string) bool { return len(c.Roles) == 0 || slices.Contains(c.Roles, role) }

// Complete reports whether the process does all that a freshet does: whether it makes vectors for others too does not matter.
func (c Config) Complete() bool { return c.Has(RoleSource) && c.Has(RoleProcess) && c.Has(RoleQuery) }

// OnlyEmbeds reports whether the process makes vectors, and nothing else.
func (c Config) OnlyEmbeds() bool { return len(c.Roles) == 1 && c.Roles[0] == RoleEmbed }

// CheckRoles checks the roles of a configuration, or of the flag that goes before it: names that are known, each once.
func CheckRoles(field string, roles []string) error {
	for i, r := range roles {
		if !slices.Contains(Roles, r) {
			return fmt.Errorf("%s: %q is not known; use some of %s, or leave it out for all", field, r, strings.Join(Roles, ", "))
		}
		if slices.Contains(roles[:i], r) {
			return fmt.Errorf("%s: %q stands twice; leave one out", field, r)
		}
	}
	return nil
}

// Process is how a process with that role does it.
type Process struct {
	Copies string `yaml:"copies,omitempty"` // CopiesAll, the default, or CopiesOwned
}

// Of which partitions a process that decides some has a copy, besides those that its indexes hold.
const (
	CopiesAll   = "all"   // of every one: it goes on with any at once
	CopiesOwned = "owned" // of those that it owns: it reads a partition before it goes on with it
)

var copies = []string{CopiesAll, CopiesOwned}

// Query is what a process with that role holds.
type Query struct {
	Partitions Partitions `yaml:"partitions,omitempty"` // default all
}

// Partitions says which partitions of the log a process holds: numbers and ranges such as "0-3,7". The zero value and "all" are all.
type Partitions string

// UnmarshalYAML implements yaml.BytesUnmarshaler: a text, one number, or a list of both.
func (p *Partitions) UnmarshalYAML(b []byte) error {
	var v any
	if err := yaml.Unmarshal(b, &v); err != nil {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var parts []string
	for _, x := range list {
		switch x := x.(type) {
		case string:
			parts = append(parts, x)
		case uint64:
			parts = append(parts, strconv.FormatUint(x, 10))
		default:
			return fmt.Errorf(`%v is no partition; write numbers and ranges like "0-3,7", or all`, x)
		}
	}
	*p = Partitions(strings.Join(parts, ","))
	return nil
}

// Of returns the partitions of a log with so many, in order.
func (p Partitions) Of(partitions int) ([]int32, error) {
	return wire.ParsePartitions(string(p), partitions)
}

// validateRoles checks what a process is to do, and what others are told of it.
func (c Config) validateRoles() error {
	if err := CheckRoles("roles", c.Roles); err != nil {
		return err
	}
	partitions := c.Partitions
	if partitions < 1 || partitions > 32768 {
		partitions = 32768 // whoever opens the log refuses that number
	}
	held, err := c.Query.Partitions.Of(partitions)
	if err != nil {
		return fmt.Errorf("query.partitions: %w", err)
	}
	if c.Advertise != "" {
		u, err := url.Parse(c.Advertise)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return fmt.Errorf("advertise: %q is no address of http or https without a path; write it like http://10.0.0.5:8080", c.Advertise)
		}
	}
	if c.Process.Copies != "" && !slices.Contains(copies, c.Process.Copies) {
		return fmt.Errorf("process.copies: %q is not known; use one of %s", c.Process.Copies, strings.Join(copies, ", "))
	}
	if c.OnlyEmbeds() && c.Embed.Workers != EmbedByTopic {
		return fmt.Errorf("roles: %s alone has nothing to do where embed.workers is not %q; set that, in the configuration of all processes", RoleEmbed, EmbedByTopic)
	}
	if c.Broker.Kafka != nil {
		if len(held) < partitions && !c.Has(RoleQuery) {
			return fmt.Errorf("query.partitions: is %q, but roles has no %q; leave one of the two out", c.Query.Partitions, RoleQuery)
		}
		return nil
	}
	const remedy = "the log is in the data folder, which one process has; name a cluster under broker.kafka, or leave it out"
	switch {
	case !c.Complete():
		return fmt.Errorf("roles: are %s, which leaves out others: %s", strings.Join(c.Roles, ", "), remedy)
	case len(held) < partitions:
		return fmt.Errorf("query.partitions: is %q: %s", c.Query.Partitions, remedy)
	case c.Process.Copies == CopiesOwned:
		return fmt.Errorf("process.copies: is %q: %s", c.Process.Copies, remedy)
	case c.Advertise != "":
		return fmt.Errorf("advertise: is %q, and there is nobody to be told: %s", c.Advertise, remedy)
	}
	return nil
}
