package node

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/source"
)

// checkBroker refuses a log in Kafka, where the log has to be in the data folder; its settings first if they are wrong.
func checkBroker(c config.Config) error {
	if c.Broker.Kafka == nil {
		return nil
	}
	if _, err := kafkaOptions(c, nil); err != nil {
		return err
	}
	return errors.New("broker.kafka: the log is in Kafka, and this is for a log in the data folder; leave it out, or name the server with --server")
}

// kafkaOptions are the settings of a log in Kafka.
func kafkaOptions(c config.Config, logger *slog.Logger) (kafka.Options, error) {
	k := c.Broker.Kafka
	o := kafka.Options{
		ClientID: k.ClientID, Group: k.Group, Topics: kafka.Topics(k.Topics),
		Partitions: c.Partitions, Replication: k.Replication, MinInSync: k.MinInSync,
		RawRetention: time.Duration(c.Retention.Age), RawBytes: c.Retention.Bytes,
		SyncDeleteRetention: time.Duration(k.SyncDeleteRetention), Delivery: k.Delivery, SyncFormat: k.SyncFormat, MixedWriters: k.MixedWriters, Compression: k.Compression,
		MaxRecordBytes: k.MaxRecordBytes,
		TLS:            (*kafka.TLS)(k.TLS), SASL: (*kafka.SASL)(k.SASL), Rack: k.Rack, InstanceID: k.InstanceID,
		SessionTimeout: time.Duration(k.SessionTimeout), Logger: logger,
	}
	for _, addr := range k.Brokers {
		o.Brokers = append(o.Brokers, string(addr))
	}
	if err := o.Validate(); err != nil {
		return o, kafkaField(err)
	}
	// A record of vector.sync holds what an event says, and beside it what the patch that it may be was applied to.
	record, event := cmp.Or(o.MaxRecordBytes, kafka.DefaultMaxRecordBytes), cmp.Or(c.Limits.EventBytes, source.DefaultEventBytes)
	if record < 2*event {
		return o, fmt.Errorf("broker.kafka.max_record_bytes: %d is too little for limits.event_bytes %d; give %d at least, or lower the limit", record, event, 2*event)
	}
	return o, nil
}

// kafkaField puts the key of the configuration in front of what package kafka says of a field.
func kafkaField(err error) error {
	for field, key := range map[string]string{"partitions": "partitions", "raw_retention": "retention.age", "raw_bytes": "retention.bytes"} {
		if rest, ok := strings.CutPrefix(err.Error(), field+": "); ok {
			return fmt.Errorf("%s: %s", key, rest)
		}
	}
	return fmt.Errorf("broker.kafka.%w", err)
}
