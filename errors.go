package freshet

// Code is a stable, machine-readable class of an error. The gateway has the one table that
// maps codes to HTTP status; dead letters and rejected events carry them as they are.
type Code string

// The codes. A user sees them in answers, dead letters and metrics; they never change meaning.
const (
	CodeInvalidJSON       Code = "invalid_json"
	CodeInvalidUTF8       Code = "invalid_utf8"
	CodeInvalidRecord     Code = "invalid_record"
	CodeInvalidField      Code = "invalid_field"
	CodeUnknownField      Code = "unknown_field"
	CodeMissingField      Code = "missing_field"
	CodeTooLarge          Code = "too_large"
	CodeUnknownSchema     Code = "unknown_schema"
	CodeUnknownCollection Code = "unknown_collection"
	CodeUnsupportedOp     Code = "unsupported_op"
	CodeMappingFailed     Code = "mapping_failed"
	CodeNoContent         Code = "no_content"
	CodeWrongDimension    Code = "wrong_dimension"
	CodeBadVector         Code = "bad_vector"
	CodeOrderMismatch     Code = "order_mismatch"
	CodeTooOld            Code = "too_old"
	CodeEmbedFailed       Code = "embed_failed"
	CodeNotFound          Code = "not_found"
	CodeNoSuchMethod      Code = "method_not_allowed"
	CodeForeignToken      Code = "foreign_token"
	CodeNotReached        Code = "position_not_reached"
	CodeBacklogFull       Code = "backlog_full"
	CodeDiskFull          Code = "disk_full"
	CodeMisdirected       Code = "misdirected"
	CodeUnavailable       Code = "unavailable"
	CodeInternal          Code = "internal"
)

// Error is an error that a user sees: a code, what is wrong (field, value) and the remedy.
type Error struct {
	Code    Code
	Field   string // the field at fault, or ""
	Message string // what is wrong, and what to do
}

// Error is the message, with the field in front where there is one.
func (e *Error) Error() string {
	if e.Field != "" {
		return e.Field + ": " + e.Message
	}
	return e.Message
}
