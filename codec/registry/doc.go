// Package registry reads records in the wire format of Confluent's schema registry: a zero byte, the id of a schema, and a value
// in Avro, in Protobuf or in JSON. Values become JSON, as producers send it without a registry, and whatever reads that
// goes on: the default mapping, a configured one, package cdc for Debezium's envelopes. It does not write records, registers no schemas,
// and does not validate JSON against its schema, which the producer's serializer has done.
//
// A record is read with the schema that it names, its writer's. A schema never changes, so what it is is kept for ever. One that
// the registry does not know, or that can't be used, is an error of its records; a registry that does not answer is an
// error with freshet.CodeUnavailable, upon which the record is to be tried again: see [Decoder.Decode].
//
// # Values
//
// Numbers are numbers with all their digits, decimals too; NaN and the infinities are null. Dates, and timestamps of any unit, with and without
// zone, are RFC 3339 in UTC; times of day 10:13:23.5; Avro's durations P1M2DT3.5S, Protobuf's 3.5s. UUIDs and enums are strings, bytes
// and fixed base64. A union is the value of its branch. Protobuf's wrappers, structs and values are what they hold, and
// Confluent's decimal is a number; a field without presence that is not set has its default, one with presence is null.
//
// # Shapes
//
// As an event of the default mapping (codec.FormEvents) the record's fields are those of an event, so others are refused;
// payload may be a record, a map, or a string that holds a JSON object; timestamp and expires_at may be numbers (ms), timestamps, or strings
// of RFC 3339. Fields of a Protobuf message that are not set are absent. Where there is no entity_id, it is the key of the record: a string or
// a number as it is, or in the wire format.
//
// As a row (codec.FormRows) value and key come with the schema of Kafka Connect that its JSON converter would write, taken from that of
// the record: so types of Debezium, which stand in connect.name, are read as in its JSON.
//
// # Why there is a decoder of Avro here
//
// The libraries make Go values, in which the branch of a union, the order of fields, and a time that is none are lost, and of which JSON would have to be made again. This one
// writes JSON while it reads, and its work is bounded by what it writes. Its tests hold it to the encoders of two of them.
package registry
