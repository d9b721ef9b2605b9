// Package cdc reads the events of change data capture: the envelopes in which databases' changes travel become rows, the
// same for all of them. It does not know collections, drafts or expressions; package process and process/mapping make changes of
// entities from rows.
//
// # Formats
//
//   - debezium: Debezium's JSON, with and without its schema, of any connector; with Options.Flat the rows of its transformation
//     ExtractNewRecordState. Documents of MongoDB are strings of extended JSON (BSON) in it.
//   - canal: Alibaba Canal's flat messages; one holds one row or more.
//   - aliyun: the JSON of Alibaba Cloud's Data Integration.
//
// A record of Kafka is written {"key": …, "value": …}; without that an event is the value alone.
//
// # Operations
//
// Create, read (of a snapshot) and update give the row after; a deletion gives the row before, or at least its key. An
// update that changes the key is two rows: the deletion of the old one, then the new one. Of an update in two records (UPDATE_BEFORE and
// UPDATE_AFTER of aliyun) the first is a deletion, because nobody knows yet whether the key stays. Not rows, and dropped: changes
// of schemas, truncations, heartbeats, boundaries of transactions, logical messages, and tombstones, whose deletion came before. In a
// flat stream a tombstone with a key is a deletion: there it may be the only sign of it.
//
// # Values
//
// A row's values are JSON. Numbers and decimals are numbers with all their digits; dates, times and timestamps are RFC 3339
// in UTC, which filters compare; a time of day is a string; columns of JSON are what they hold; binary columns are left out. What a value is,
// Debezium says in its schema: without it values stay as they are, so there send the schema, or have the connector write
// decimal.handling.mode=string. Canal says it in mysqlType, aliyun in dataColumn, and extended JSON in itself; NaN and the
// infinities, which JSON lacks, are null. What can't be read as its type is an error that names the column.
//
// # Places
//
// A row's event id is its place in the source's log, where that names one change of one row: file, position and row of MySQL and
// MariaDB; transaction and LSN of PostgreSQL; LSNs and serial number of SQL Server; SCN, RS_ID and SSN of Oracle; time and ordinal of
// MongoDB outside of its transactions; the sequence id of aliyun. Rows of snapshots have none: one place stands for all of them.
//
// Its order is asked for by Options.Order and exists where places are one total order that fits in 63 bits: the LSN of
// PostgreSQL; file and position of MySQL and MariaDB, as long as one server is read; the cluster time of MongoDB; the sequence id of aliyun.
// Elsewhere asking for it is an error of each event.
package cdc
