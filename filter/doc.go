// Package filter is freshet's filter language over an entity's metadata, and an
// in-memory index that answers it exactly.
//
// An [Expr] is a parsed filter. [Expr.Match] evaluates it on one metadata
// document; an [Index] holds the metadata of many documents, by number, and
// evaluates it on all of them at once as a roaring bitmap. Both give the same
// answer for every document; the package's property test holds them to it.
//
// The package knows nothing of vectors, entities or storage: a document is a
// uint32 (a slot of the vector index) and a JSON object. Snapshot and Load keep an
// Index over a restart; snapshot.go draws the bytes.
//
// # The language
//
// A filter is a JSON object with exactly one key, the operator:
//
//	{"eq":     {"brand": "Acme"}}                        the value is equal
//	{"in":     {"brand": ["Acme", "Blix", null]}}        the value is one of these
//	{"range":  {"price": {"gte": 10, "lt": 20.5}}}       the number lies in the range
//	{"range":  {"seen": {"gt": "2026-01-31T00:00:00Z"}}} the time lies in the range
//	{"prefix": {"sku": "shoe-"}}                         the string begins with this
//	{"exists": {"discount": true}}                       the field is there (false: it is not)
//	{"and":    [F, G, …]}                                all of these filters match
//	{"or":     [F, G, …]}                                at least one of them matches
//	{"not":    F}                                        the filter does not match
//
// A leaf names one field; conditions on several fields are joined by "and":
//
//	{"and": [
//	  {"eq": {"category": "shoes"}},
//	  {"range": {"price": {"lte": 99.90}}},
//	  {"not": {"in": {"maker.country": ["XX", "YY"]}}}
//	]}
//
// Fields. A dot steps into a nested object: "maker.country" is the key
// "country" of the object at the key "maker". A dot or backslash that is part
// of a key is written with a backslash before it; in JSON that backslash is
// itself escaped, so the key "v1.0" is written "v1\\.0".
//
// Arrays are transparent: a step or a comparison applies to each element, and a
// leaf matches when any element matches. With {"tags": ["a", "b"]} both
// {"eq": {"tags": "a"}} and {"eq": {"tags": "b"}} match; with
// {"items": [{"sku": 1}, {"sku": 2}]} so does {"eq": {"items.sku": 2}}. All bounds
// of one range must hold for one and the same element. Elements can't be
// addressed by position.
//
// Values. What is compared is the JSON value, and types are never converted:
// the string "1" is not the number 1, and a value of another type than the
// operand's does not match (it is not an error).
//
//   - Strings are compared byte by byte, after JSON's escapes are resolved.
//   - Numbers are compared by their exact decimal value: 1, 1.0 and 10e-1 are
//     equal, 9007199254740993 and 9007199254740992 are not, 0.1 is exactly 0.1,
//     and -0 is 0. A number of more than 1,024 significant digits, or 10^1,000,000
//     and beyond in either direction, satisfies only "exists".
//   - Times, in a range, are RFC 3339 strings on both sides ("2026-01-31T09:30:00Z",
//     "2026-01-31T10:30:00.25+01:00"), compared as instants to the nanosecond;
//     further digits are cut off. A string that is no RFC 3339 time (a date alone,
//     a leap second, a lower-case t or z) does not match. "eq" and "in" compare
//     times as the strings they are.
//   - null is a value: {"eq": {"f": null}} matches an explicit null and not a
//     missing field.
//
// Missing fields match no leaf but {"exists": {"f": false}}. A field exists when its
// key is there, whatever its value: null, an empty array and an empty object
// too. "not" is the complement: {"not": {"eq": {"f": 1}}} matches every document
// that {"eq": {"f": 1}} does not, those without the field included.
//
// A key that occurs twice in one object of the metadata counts once, with its
// last value, as in encoding/json. Metadata of zero bytes stands for {}.
//
// An empty "in" matches nothing. An empty "and" or "or" is an error, as is a key
// given twice.
//
// # Limits
//
// A filter has at most [MaxBytes] bytes, nests at most [MaxDepth] deep, has at
// most [MaxNodes] operators and [MaxValues] values in one "in"; strings and field
// names in it have at most [MaxStringBytes] bytes. Strings in metadata may be longer:
// no "eq" or "in" can match them, and "prefix" and "exists" stay exact.
package filter

// The limits of a filter. Parse refuses what exceeds them and names the limit.
const (
	// MaxBytes is the length of a filter's JSON text in bytes.
	MaxBytes = 1 << 20
	// MaxDepth is how deep operators may nest; a single leaf has depth 1.
	MaxDepth = 32
	// MaxNodes is the number of operators in a filter, leaves included.
	MaxNodes = 1024
	// MaxValues is the number of values in one "in".
	MaxValues = 10_000
	// MaxStringBytes is the length in bytes of a string operand and of a field
	// name. An Index keeps no more than this of any string in the metadata.
	MaxStringBytes = 1024
	// MaxNumberDigits is the number of significant decimal digits of a number.
	MaxNumberDigits = 1024
	// MaxNumberExponent bounds the magnitude of numbers: 10^-MaxNumberExponent
	// and below, 10^MaxNumberExponent and above are out of range.
	MaxNumberExponent = 1_000_000
)
