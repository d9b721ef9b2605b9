// Package mapping turns any JSON object into the changes it stands for, by expressions that
// the configuration gives: a [Mapper] is a process.Mapper. The expressions are CEL
// (https://cel.dev); they are compiled and type-checked once, by [New], and this is the only
// package that knows CEL. It does not read configuration files and does not embed, sequence
// or store anything.
//
//	mapping:
//	  changes:                                   # each is tried on every event, in order
//	    - when: event.type == "order"            # bool; absent: always
//	      for_each: event.items                  # list: one change per element, as item and index
//	      collection: '"products"'               # a constant text is quoted twice
//	      namespace: event.?tenant               # absent in the event: the default namespace
//	      entity: item.sku                       # the only one that must be given
//	      event_id: event.id
//	      delete: item.discontinued              # bool; or op: '"upsert"', '"patch"' or '"delete"'
//	      text: item.title + "\n" + item.body    # stored, and embedded unless embed says what
//	      embed: item.title
//	      vector: item.embedding                 # numbers; then the text is not embedded
//	      metadata: '{"price": item.price}'      # a map; absent: none
//	      timestamp: event.ts                    # ms since 1970, RFC 3339 text or a timestamp
//	      expires_at: event.until                # likewise; the entity is hidden and deleted then; 0: never
//	      order: event.lsn                       # >= 1
//	  max_cost: 5000000                          # of all expressions together, for one event
//
// # Variables
//
// event is the JSON object, source the system it came from, accepted_at the time when it
// became durable; item and index exist where for_each is given. JSON numbers written without
// point and exponent are exact: int where they fit in 64 bits, else uint; all others are
// double. CEL doesn't mix them in arithmetic: write double(event.price) * 1.19 for a price
// that may come as 10 and as 9.99. Of members with the same name the last one counts. Maps
// are walked in byte order of their names, so an expression gives the same at every replay.
//
// Where the configuration has a codec, event is the row after a change, or of a deletion the row before as far as it is known, and
// cdc says the rest: op (c, r, u, d), key and entity (see cdc.Row.Entity), database, schema and table, timestamp, event_id, order,
// source (what the envelope says of it) and before (the row before an update); what is not known is absent, so write cdc.?table. A
// deletion deletes, and event_id, timestamp and order are the row's, unless an expression says otherwise. The changes of all
// rows of an event count, of one entity those of the last row that makes any.
//
// Functions: the standard library and the strings, math and lists extensions and optional
// values of cel-go, at the versions pinned in env.go. There are no clocks, random numbers or
// look-ups.
//
// # Fields
//
// A field whose value is null or optional.none() counts as absent: event.?title is the title
// if there is one, where event.title is an error if there is none. when is decided once per
// event, before for_each; to choose among elements write event.items.filter(i, i.price > 0.0).
// For a deletion text, embed, vector, metadata and expires_at are not evaluated. A patch merges its metadata
// into the stored ones (RFC 7396: null removes), and text, embed, vector and expires_at replace what is
// stored where they give a value; it has no order. Ints given for
// collection, namespace, entity and event_id become decimal text. Metadata is written as JSON
// with sorted names, doubles in their shortest form.
//
// The changes of one event get their ordinals in the order in which they are made. If one
// fails, none has an effect, and the event becomes a dead letter that names the field, the
// value and the remedy. An event for which nothing is made is dropped.
//
// A repeat is recognised by (source, entity, event_id): changes of one event to different
// entities may share an event_id. Two changes of one event to the same entity may not, the
// second would count as a repeat; add the index to the id, or give none.
//
// # Cost
//
// No event can hold up the stream: max_cost limits what all expressions together cost for
// one event. A step costs one, and so do ten bytes of text or ten elements that it passes on.
// The cost depends on nothing but the event, so a replay decides the same; for that reason
// there is no deadline in milliseconds. A constant expression that costs more is refused at
// start. The few functions whose work is more than the length of their arguments are limited
// on their own. The limits protect from events, not from the author of the configuration.
package mapping
