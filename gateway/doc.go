// Package gateway is the HTTP side of freshet: events in, searches, entities, health,
// metrics and the admin routes. openapi.json describes it; problem.go has the one table that
// maps error codes to statuses.
//
// It parses and answers; what an event or a search means is decided by source and query.
package gateway
