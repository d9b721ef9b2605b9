// Package freshet is the vocabulary of freshet: the types and contracts that every
// stage shares. It holds no loops, locks or I/O.
//
// freshet keeps a vector index true to an event stream. The words, one per idea, in the
// code, the configuration, the metrics and the documents:
//
//   - Event: what a producer sends.
//   - Entity, namespace, collection: the thing that vectors stand for; its tenant; a set of
//     entities with one schema. The three together are a [Key].
//   - Point: one vector of an entity, named by its model and slot.
//   - Change: the whole latest state of an entity, as vector.sync carries it.
//   - Position: a place in the log. Version: what orders the changes of an entity.
//     Token: positions that a producer was given and a search can wait for.
//     Watermark: the offset up to which every record of a partition is decided.
//   - Decided: a record of the log is decided once its effect can be seen: searchable,
//     deleted, unchanged, superseded, repeated, dropped or dead-lettered.
//   - Revision: a number for the mapping and models in force.
//   - Dead letter: an event, or one change that it maps to, that can't be applied.
//   - Hit: one entity that a search found.
//
// The mechanism that every promise rests on is the version: each entity has one, and every
// apply is "if version > stored version". docs/DESIGN.md derives the rest from it.
package freshet
