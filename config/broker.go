package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Broker says where the log is: in the data folder, unless it names a cluster.
type Broker struct {
	Kafka *Kafka `yaml:"kafka,omitempty"`
}

// Kafka is a log in a cluster; package broker/kafka says what its settings mean and checks them. Its partitions are those of
// Config.Partitions, and events are kept for as long as Retention.Age and Retention.Bytes say.
type Kafka struct {
	Brokers             []Addr   `yaml:"brokers"`             // one at least
	ClientID            string   `yaml:"client_id,omitempty"` // default freshet
	Group               string   `yaml:"group,omitempty"`     // default freshet
	Topics              Topics   `yaml:"topics,omitempty"`
	Replication         int      `yaml:"replication,omitempty"`           // default 3, or the number of brokers
	MinInSync           int      `yaml:"min_insync,omitempty"`            // default 2 where replication is 3, else 1
	SyncDeleteRetention Duration `yaml:"sync_delete_retention,omitempty"` // default 168h
	Delivery            string   `yaml:"delivery,omitempty"`              // of Deliveries; default transactional
	SyncFormat          string   `yaml:"sync_format,omitempty"`           // of SyncFormats; default binary
	MixedWriters        string   `yaml:"mixed_writers,omitempty"`         // of MixedWriters; default refuse
	Compression         string   `yaml:"compression,omitempty"`           // of Compressions; default auto
	MaxRecordBytes      int      `yaml:"max_record_bytes,omitempty"`      // default 16 MiB
	TLS                 *TLS     `yaml:"tls,omitempty"`
	SASL                *SASL    `yaml:"sasl,omitempty"`
	Rack                string   `yaml:"rack,omitempty"`
	InstanceID          string   `yaml:"instance_id,omitempty"`
	SessionTimeout      Duration `yaml:"session_timeout,omitempty"` // default 6s
}

// Addr is HOST:PORT.
type Addr string

// UnmarshalYAML implements yaml.BytesUnmarshaler. The library takes HOST:PORT for a map with one key where it stands without quotes
// in brackets within braces, as in {brokers: [kafka-1:9092]}; it is what YAML says is a string.
func (a *Addr) UnmarshalYAML(b []byte) error {
	if err := yaml.Unmarshal(b, (*string)(a)); err == nil {
		return nil
	}
	var m map[string]uint16
	if err := yaml.Unmarshal(b, &m); err != nil || len(m) != 1 {
		return fmt.Errorf("%q is no HOST:PORT; write it like \"kafka-1:9092\"", bytes.TrimSpace(b))
	}
	for host, port := range m {
		*a = Addr(fmt.Sprintf("%s:%d", host, port))
	}
	return nil
}

// Topics are names in Kafka, each after the prefix.
type Topics struct {
	Prefix   string `yaml:"prefix,omitempty"`
	Raw      string `yaml:"raw,omitempty"`
	Keyed    string `yaml:"keyed,omitempty"`
	Sync     string `yaml:"sync,omitempty"`
	Dead     string `yaml:"dead,omitempty"`
	State    string `yaml:"state,omitempty"`
	Control  string `yaml:"control,omitempty"`
	Requests string `yaml:"requests,omitempty"`
	Results  string `yaml:"results,omitempty"`
}

// TLS encrypts connections to brokers.
type TLS struct {
	CAFile     string `yaml:"ca_file,omitempty"`
	CertFile   string `yaml:"cert_file,omitempty"`
	KeyFile    string `yaml:"key_file,omitempty"`
	ServerName string `yaml:"server_name,omitempty"`
}

// SASL authenticates at brokers. Secrets stand in files, so no command shows them.
type SASL struct {
	Mechanism        string `yaml:"mechanism"` // of Mechanisms
	User             string `yaml:"user,omitempty"`
	PasswordFile     string `yaml:"password_file,omitempty"`
	TokenFile        string `yaml:"token_file,omitempty"`
	TokenURL         string `yaml:"token_url,omitempty"`
	ClientID         string `yaml:"client_id,omitempty"`
	ClientSecretFile string `yaml:"client_secret_file,omitempty"`
	Scope            string `yaml:"scope,omitempty"`
}

// Deliveries are how owners of partitions commit.
var Deliveries = []string{"transactional", "idempotent"}

// SyncFormats are the forms of values of vector.sync.
var SyncFormats = []string{"binary", "json"}

// MixedWriters is what can be done about records of vector.sync whose collection another one writes.
var MixedWriters = []string{"refuse", "ignore"}

// Compressions are how records are compressed.
var Compressions = []string{"auto", "none", "snappy", "lz4", "zstd"}

// Mechanisms are those of SASL.
var Mechanisms = []string{"plain", "scram-sha-256", "scram-sha-512", "oauthbearer"}

// validate checks what has names and what only some durations can be; package broker/kafka checks the rest.
func (b Broker) validate() error {
	k := b.Kafka
	if k == nil {
		return nil
	}
	if len(k.Brokers) == 0 {
		return errors.New("broker.kafka.brokers: is empty; name one at least, as HOST:PORT, or leave broker.kafka out for the log in the data folder")
	}
	if k.Delivery != "" && !slices.Contains(Deliveries, k.Delivery) {
		return fmt.Errorf("broker.kafka.delivery: %q is not known; use one of %s", k.Delivery, strings.Join(Deliveries, ", "))
	}
	if k.SyncFormat != "" && !slices.Contains(SyncFormats, k.SyncFormat) {
		return fmt.Errorf("broker.kafka.sync_format: %q is not known; use one of %s", k.SyncFormat, strings.Join(SyncFormats, ", "))
	}
	if k.MixedWriters != "" && !slices.Contains(MixedWriters, k.MixedWriters) {
		return fmt.Errorf("broker.kafka.mixed_writers: %q is not known; use one of %s", k.MixedWriters, strings.Join(MixedWriters, ", "))
	}
	if k.Compression != "" && !slices.Contains(Compressions, k.Compression) {
		return fmt.Errorf("broker.kafka.compression: %q is not known; use one of %s", k.Compression, strings.Join(Compressions, ", "))
	}
	if k.SASL != nil && !slices.Contains(Mechanisms, k.SASL.Mechanism) {
		return fmt.Errorf("broker.kafka.sasl.mechanism: %q is not known; use one of %s", k.SASL.Mechanism, strings.Join(Mechanisms, ", "))
	}
	return nil
}
