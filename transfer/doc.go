// Package transfer moves events and entities between files and a running server: it is the client behind `freshet ingest`, `export`
// and `import`.
//
// A file is read as records, in the memory of a few of them whatever its size. Records become events, events go to the server in
// bounded requests, in order, each waited for until it is durable. What was sent is kept beside the file (see [Resume]); and
// an event that brings no id gets one that is a function of where it stands and what it says, so what is sent again by a client
// that was killed is recognised by the server.
//
// It does not talk to the log or the store: the server's HTTP API is all that it needs.
package transfer
