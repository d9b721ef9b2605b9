package mapping

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
)

// The versions of the CEL libraries. They are part of Describe: raising one is a new revision.
const (
	stringsVersion  = 5
	mathVersion     = 3
	listsVersion    = 4
	optionalVersion = 2
)

// regexProgramSize is the most instructions that a regular expression may compile to.
const regexProgramSize = 1000

// environments are the declarations that expressions are checked against.
type environments struct {
	event *cel.Env // event, source and accepted_at; and cdc where events are rows
	item  *cel.Env // and item and index
}

func newEnvironments(rows bool) (environments, error) {
	event, err := cel.NewEnv(
		cel.Variable("event", cel.DynType),
		cel.Variable("source", cel.StringType),
		cel.Variable("accepted_at", cel.TimestampType),
		ext.Strings(ext.StringsVersion(stringsVersion)),
		ext.Math(ext.MathVersion(mathVersion)),
		ext.Lists(ext.ListsVersion(listsVersion), ext.ListsMaxRangeSize(MaxElements)),
		cel.OptionalTypes(cel.OptionalTypesVersion(optionalVersion)),
		boundedFunctions(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.EnableMacroCallTracking(), // for Describe, which prints expressions from their tree
		cel.ParserExpressionSizeLimit(MaxExpressionBytes),
		cel.RegexProgramSizeLimit(regexProgramSize),
	)
	if err == nil && rows {
		event, err = event.Extend(cel.Variable("cdc", cel.DynType))
	}
	if err != nil {
		return environments{}, err
	}
	item, err := event.Extend(
		cel.Variable("item", cel.DynType),
		cel.Variable("index", cel.IntType),
	)
	return environments{event: event, item: item}, err
}
