package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
)

const onKafka = "broker: {kafka: {brokers: [a:1]}}\npartitions: 8\n"

func TestRoles(t *testing.T) {
	for yaml, has := range map[string][]string{
		"":                         config.Roles,
		"roles: []":                config.Roles,
		"roles: [query]":           {"query"},
		"roles: [source, process]": {"source", "process"},
	} {
		c, err := parse(onKafka + yaml)
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
		}
		for _, role := range config.Roles {
			if c.Has(role) != slices.Contains(has, role) {
				t.Errorf("%s: role %s is %v", yaml, role, c.Has(role))
			}
		}
	}
	all := "roles: [" + strings.Join(config.Roles, ", ") + "]"
	if _, err := parse(all); err != nil {
		t.Error("all roles on one machine:", err)
	}
	for yaml, says := range map[string]string{
		"roles: [query]":                                                        "name a cluster under broker.kafka",
		"query: {partitions: 0-3}":                                              "name a cluster under broker.kafka",
		"process: {copies: owned}":                                              "name a cluster under broker.kafka",
		onKafka + "process: {copies: some}":                                     "use one of all, owned",
		"advertise: http://a:1":                                                 "name a cluster under broker.kafka",
		onKafka + "roles: [embed]":                                              `embed.workers is not "topic"`,
		onKafka + "roles: [serve]":                                              `roles: "serve" is not known`,
		onKafka + "roles: [query, query]":                                       "stands twice",
		onKafka + "advertise: a:1":                                              "advertise: ",
		onKafka + "advertise: http://a:1/x":                                     "without a path",
		onKafka + "advertise: http://u:p@a:1":                                   "advertise: ",
		onKafka + "roles: [source]\nquery: {partitions: 3}":                     "leave one of the two out",
		onKafka + "query: {partitions: 0-8}":                                    "the partitions 0 to 7",
		onKafka + "query: {partitions: '4-2'}":                                  "no range",
		onKafka + "query: {partitions: '1,,2'}":                                 "no partition",
		onKafka + "query: {partitions: -1}":                                     "no partition",
		onKafka + "query: {partitions: 1.5}":                                    "no partition",
		onKafka + "query: {partitions: [1, all]}":                               "no partition",
		onKafka + "query: {partitions: {from: 1}}":                              "no partition",
		onKafka + "roles: [query]\nquery: {partitions: '99999999999999999999'}": "no partition",
	} {
		if _, err := parse(yaml); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", yaml, err, says)
		}
	}
}

func TestPartitions(t *testing.T) {
	for yaml, want := range map[string][]int32{
		"":                                 {0, 1, 2, 3, 4, 5, 6, 7},
		"query: {partitions: all}":         {0, 1, 2, 3, 4, 5, 6, 7},
		"query: {partitions: 0-2}":         {0, 1, 2},
		"query: {partitions: 5}":           {5},
		`query: {partitions: "0-3, 7, 2"}`: {0, 1, 2, 3, 7},
		"query: {partitions: [6, 0-1]}":    {0, 1, 6},
	} {
		c, err := parse(onKafka + yaml)
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
			continue
		}
		if got, err := c.Query.Partitions.Of(c.Partitions); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", yaml, got, err, want)
		}
	}
}
